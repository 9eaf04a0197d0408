#include "migrate/dump_criu.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "migrate/ground_criu.h"

int dump_init(const struct mover_guest *guest, const struct mover_paths *paths,
              struct dump_words *words, struct criu_run *ret, struct err *err)
{
    struct stat status;

    if (stat(guest->netns, &status) < 0)
        return err_set(err, -errno, "guest %s has no network namespace %s", guest->name,
                       guest->netns);
    snprintf(words->gate, sizeof(words->gate), "%s/", guest->freezer);
    snprintf(words->pid, sizeof(words->pid), "%d", guest->pid);
    snprintf(words->network, sizeof(words->network), "net[%llu]:net",
             (unsigned long long)status.st_ino);
    *ret = (struct criu_run){
        .what = "dump",
        .directory = paths->images,
        .inherited = -1,
        .gate = words->gate,
        .arguments = {"--tree", words->pid, "--external", words->network, "--external",
                      "mnt[" GROUND_DEV "]:dev", "--external", "mnt[" GROUND_SHM "]:shm",
                      "--external", "mnt[" GROUND_LOG "]:log", "--manage-cgroups=ignore",
                      "--file-locks", "--network-lock", "skip", "--leave-running",
                      "--freeze-cgroup", guest->freezer},
    };
    volumes_name_to_dump(guest, &words->volumes, ret);
    return console_name_to_dump(guest, paths, &words->console, ret, err);
}
