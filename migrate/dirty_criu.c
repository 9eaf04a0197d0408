#include "migrate/dirty_criu.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clean.h"

/* Of an entry of /proc/PID/pagemap: marked as written, and there (in memory, or swapped out). */
#define IS_MARKED  (1ull << 55)
#define IS_PRESENT (3ull << 62)

enum { ENTRIES = 512 };

enum { PAGE = 4096, MAX_SAMPLES = 2048, MAX_REGIONS = 4096 };

struct region {
    int mem; /* /proc/PID/mem */
    uint64_t begin, n_pages;
};

struct sample {
    int mem;
    uint64_t address, hash;
};

struct sampling {
    int mems[DIRTY_MAX_PIDS];
    size_t n_mems, n_regions, n_samples;
    uint64_t n_pages; /* of all regions */
    struct region regions[MAX_REGIONS];
    struct sample samples[MAX_SAMPLES];
};

static uint64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* What is its own and may be written. */
static void read_regions(struct sampling *s, pid_t pid, int mem)
{
    char path[64], line[512], rights[8];
    unsigned long begin, end;
    FILE *maps;

    snprintf(path, sizeof(path), "/proc/%d/maps", pid);
    maps = fopen(path, "re");
    while (maps != NULL && fgets(line, sizeof(line), maps) != NULL && s->n_regions < MAX_REGIONS) {
        if (sscanf(line, "%lx-%lx %7s", &begin, &end, rights) != 3 ||
            strncmp(rights, "rw-p", 4) != 0)
            continue;
        s->regions[s->n_regions++] = (struct region){mem, begin, (end - begin) / PAGE};
        s->n_pages += (end - begin) / PAGE;
    }
    if (maps != NULL)
        fclose(maps);
}

static bool hash_page(int mem, uint64_t address, uint64_t *ret)
{
    uint64_t words[PAGE / sizeof(uint64_t)], hash = 14695981039346656037ull;

    if (pread(mem, words, PAGE, (off_t)address) != PAGE)
        return false;
    for (size_t i = 0; i < PAGE / sizeof(uint64_t); i++)
        hash = (hash ^ words[i]) * 1099511628211ull; /* FNV-1a, a word a step */
    *ret = hash;
    return true;
}

static void take_samples(struct sampling *s, uint64_t stride)
{
    uint64_t skip = 0;

    for (size_t i = 0; i < s->n_regions; i++) {
        const struct region *region = &s->regions[i];
        uint64_t page = skip;

        for (; page < region->n_pages && s->n_samples < MAX_SAMPLES; page += stride) {
            struct sample *sample = &s->samples[s->n_samples];

            *sample = (struct sample){.mem = region->mem, .address = region->begin + page * PAGE};
            s->n_samples += hash_page(sample->mem, sample->address, &sample->hash);
        }
        skip = page > region->n_pages ? page - region->n_pages : 0;
    }
}

static uint64_t count_changed(const struct sampling *s)
{
    uint64_t changed = 0, hash;

    for (size_t i = 0; i < s->n_samples; i++)
        changed += hash_page(s->samples[i].mem, s->samples[i].address, &hash) &&
                   hash != s->samples[i].hash;
    return changed;
}

static uint64_t measure(struct sampling *s)
{
    const struct timespec window = {.tv_nsec = DIRTY_WINDOW_MS * 1000000L};
    uint64_t stride = s->n_pages / MAX_SAMPLES + 1, began_us, changed;

    take_samples(s, stride);
    began_us = now_us();
    nanosleep(&window, NULL);
    changed = count_changed(s);
    return changed * stride * PAGE * 1000 / ((now_us() - began_us) / 1000 + 1);
}

uint64_t dirty_rate(const pid_t *pids, size_t n)
{
    cleanup_free struct sampling *s = calloc(1, sizeof(*s));
    uint64_t rate = 0;
    char path[64];

    for (size_t i = 0; s != NULL && i < n && s->n_mems < DIRTY_MAX_PIDS; i++) {
        int mem;

        snprintf(path, sizeof(path), "/proc/%d/mem", pids[i]);
        mem = open(path, O_RDONLY | O_CLOEXEC);
        if (mem < 0)
            continue;
        s->mems[s->n_mems++] = mem;
        read_regions(s, pids[i], mem);
    }
    if (s != NULL && s->n_regions > 0)
        rate = measure(s);
    for (size_t i = 0; s != NULL && i < s->n_mems; i++)
        close(s->mems[i]);
    return rate;
}

/* ---- marks */

static uint64_t count_marked(int pagemap, uint64_t begin, uint64_t end)
{
    uint64_t entries[ENTRIES], pages = 0;

    for (uint64_t at = begin / PAGE; at < end / PAGE;) {
        uint64_t n = end / PAGE - at < ENTRIES ? end / PAGE - at : ENTRIES;
        ssize_t got = pread(pagemap, entries, n * sizeof(*entries), (off_t)(at * sizeof(*entries)));

        if (got <= 0)
            break;
        n = (uint64_t)got / sizeof(*entries);
        for (uint64_t i = 0; i < n; i++)
            pages += (entries[i] & IS_MARKED) != 0 && (entries[i] & IS_PRESENT) != 0;
        at += n;
    }
    return pages;
}

uint64_t dirty_marked(pid_t pid)
{
    cleanup_close int pagemap = -1;
    unsigned long begin, end;
    char path[64], line[512], rights[8];
    uint64_t pages = 0;
    FILE *maps;

    snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
    pagemap = open(path, O_RDONLY | O_CLOEXEC);
    snprintf(path, sizeof(path), "/proc/%d/maps", pid);
    maps = pagemap < 0 ? NULL : fopen(path, "re");
    while (maps != NULL && fgets(line, sizeof(line), maps) != NULL) {
        if (sscanf(line, "%lx-%lx %7s", &begin, &end, rights) == 3 &&
            strncmp(rights, "rw-p", 4) == 0)
            pages += count_marked(pagemap, begin, end);
    }
    if (maps != NULL)
        fclose(maps);
    return pages * PAGE;
}
