#include "migrate/proc_criu.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

ino_t proc_namespace(pid_t pid, const char *kind)
{
    struct stat status;
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, kind);
    return stat(path, &status) < 0 ? 0 : status.st_ino;
}

pid_t proc_parent(pid_t pid)
{
    char path[64], line[512], *after_name;
    int parent = 0;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    file = fopen(path, "re");
    if (file == NULL)
        return 0;
    if (fgets(line, sizeof(line), file) != NULL && (after_name = strrchr(line, ')')) != NULL)
        sscanf(after_name, ") %*c %d", &parent);
    fclose(file);
    return parent;
}

/* "Key:   1  23 kB" -> 23 */
static unsigned long long last_number(const char *text)
{
    unsigned long long number = 0;
    char *end;

    while (*text != '\0') {
        if (!isdigit((unsigned char)*text)) {
            text++;
            continue;
        }
        number = strtoull(text, &end, 10);
        text = end;
    }
    return number;
}

unsigned long long proc_number(pid_t pid, const char *file, const char *key)
{
    size_t size = strlen(key);
    unsigned long long number = 0;
    char path[64], line[256];
    FILE *stream;

    snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
    stream = fopen(path, "re");
    while (stream != NULL && number == 0 && fgets(line, sizeof(line), stream) != NULL) {
        if (strncmp(line, key, size) == 0 && line[size] == ':')
            number = last_number(line + size);
    }
    if (stream != NULL)
        fclose(stream);
    return number;
}

void proc_name(pid_t pid, char ret[32])
{
    char path[64];
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/comm", pid);
    snprintf(ret, 32, "?");
    file = fopen(path, "re");
    if (file == NULL)
        return;
    if (fgets(ret, 32, file) != NULL)
        ret[strcspn(ret, "\n")] = '\0';
    fclose(file);
}

void proc_each(bool (*each)(pid_t pid, void *context), void *context)
{
    DIR *processes = opendir("/proc");
    struct dirent *entry;
    bool goes_on = true;

    while (processes != NULL && goes_on && (entry = readdir(processes)) != NULL) {
        if (isdigit((unsigned char)entry->d_name[0]))
            goes_on = each(atoi(entry->d_name), context);
    }
    if (processes != NULL)
        closedir(processes);
}
