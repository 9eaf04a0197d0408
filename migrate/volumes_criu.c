#include "migrate/volumes_criu.h"

#include <errno.h>
#include <stdio.h>

int volume_path(const struct mover_guest *guest, uint32_t i, char ret[VOLUME_PATH_SIZE],
                struct err *err)
{
    const char *directory = guest->volumes_directory, *name = guest->volumes[i].name;

    if (snprintf(ret, VOLUME_PATH_SIZE, "%s/%s", directory, name) >= VOLUME_PATH_SIZE)
        return err_set(err, -ENAMETOOLONG, "the paths of guest %s are too long", guest->name);
    return 0;
}

void volumes_name_to_dump(const struct mover_guest *guest, struct volume_words *words,
                          struct criu_run *run)
{
    for (uint32_t i = 0; i < guest->n_volumes; i++) {
        snprintf(words->text[i], sizeof(words->text[i]), "mnt[%s]:volume%u", guest->volumes[i].path,
                 i);
        criu_add_argument(run, "--external");
        criu_add_argument(run, words->text[i]);
    }
}

int volumes_name_to_restore(const struct mover_guest *guest, struct volume_words *words,
                            struct criu_run *run, struct err *err)
{
    int r = 0;

    for (uint32_t i = 0; r == 0 && i < guest->n_volumes; i++) {
        char path[VOLUME_PATH_SIZE];

        r = volume_path(guest, i, path, err);
        if (r < 0)
            break;
        snprintf(words->text[i], sizeof(words->text[i]), "mnt[volume%u]:%s", i, path);
        criu_add_argument(run, "--external");
        criu_add_argument(run, words->text[i]);
    }
    return r;
}
