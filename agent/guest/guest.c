#include "agent/guest/guest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/units.h"

static void hex(const uint8_t *bytes, size_t size, char *ret)
{
    for (size_t i = 0; i < size; i++)
        snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
}

#define PATH(field, ...) snprintf(paths->field, sizeof(paths->field), __VA_ARGS__)

void guest_paths_init(struct guest_paths *paths, const char *name,
                      const uint8_t digest[DIGEST_SIZE])
{
    char digest_text[2 * DIGEST_SIZE + 1];

    memset(paths, 0, sizeof(*paths));
    hex(digest, DIGEST_SIZE, digest_text);
    PATH(image_root, "/var/lib/skein/roots/%s", digest_text);
    PATH(upper, GUEST_FILES "/%s/upper", name);
    PATH(work, GUEST_FILES "/%s/work", name);
    PATH(merged, GUEST_MEMORY "/%s/root", name);
    PATH(log, GUEST_LOGS "/%s.log", name);
    PATH(netns, "/run/skein/netns/%s", name);
    PATH(checkpoint, GUEST_MEMORY "/%s/checkpoint", name);
    PATH(snapshot, GUEST_MEMORY "/%s/snapshot", name);
}

void guest_volumes_name(char ret[VOLUMES_NAME_SIZE], const char *guest, uint64_t created)
{
    snprintf(ret, VOLUMES_NAME_SIZE, "%s.%llu", guest, (unsigned long long)created);
}

void guest_paths_of_run(struct guest_paths *paths, const struct guest_run *run)
{
    char volumes[VOLUMES_NAME_SIZE];

    guest_paths_init(paths, run->spec.name, run->digest);
    guest_volumes_name(volumes, run->spec.name, run->created);
    PATH(volumes, GUEST_VOLUMES "/%s", volumes);
}

void guest_mover_init(struct mover_guest *ret, const struct guest_run *run,
                      const struct guest_paths *paths)
{
    *ret = (struct mover_guest){.name = run->spec.name,
                                .image_root = paths->image_root,
                                .upper = paths->upper,
                                .work = paths->work,
                                .merged = paths->merged,
                                .netns = paths->netns,
                                .checkpoint = paths->checkpoint,
                                .snapshot = paths->snapshot,
                                .log = paths->log,
                                .volumes_directory = paths->volumes,
                                .n_volumes = run->spec.n_volumes,
                                .volumes = run->spec.volumes,
                                .run = run,
                                .ip = run->vni != 0 ? run->ip : 0};
}

void guest_run_deinit(struct guest_run *run)
{
    guest_spec_deinit(&run->spec);
    memset(run, 0, sizeof(*run));
}

void guest_run_encode(const struct guest_run *run, struct writer *w)
{
    guest_spec_encode(&run->spec, w);
    write_u64(w, run->created);
    write_u64(w, run->epoch);
    write_bytes(w, run->digest, DIGEST_SIZE);
    write_u32(w, run->n_cores);
    for (uint32_t i = 0; i < run->n_cores; i++)
        write_u16(w, run->cores[i]);
    write_u32(w, run->vni);
    write_u32(w, run->ip);
    write_u8(w, run->prefix);
    write_u16(w, run->port);
}

/* Cores ascend and exist; a network is whole or absent. */
static bool run_is_sound(const struct guest_run *run)
{
    for (uint32_t i = 0; i < run->n_cores; i++) {
        if (run->cores[i] >= MAX_CORES || (i > 0 && run->cores[i] <= run->cores[i - 1]))
            return false;
    }
    if (!name_is_valid(run->spec.name) || run->epoch == 0 ||
        (run->spec.n_argv == 0) != guest_spec_boots(&run->spec))
        return false;
    if (run->vni == 0)
        return run->ip == 0 && run->port == 0;
    return run->vni < 1u << 24 && run->ip != 0 && run->port != 0 && run->prefix >= 8 &&
           run->prefix <= 30;
}

int guest_run_decode(struct reader *r, struct guest_run *ret)
{
    int rc;

    memset(ret, 0, sizeof(*ret));
    rc = guest_spec_decode(r, &ret->spec);
    if (rc < 0) {
        guest_run_deinit(ret);
        return rc;
    }
    ret->created = read_u64(r);
    ret->epoch = read_u64(r);
    read_bytes(r, ret->digest, DIGEST_SIZE);
    ret->n_cores = read_count(r, MAX_GUEST_CORES);
    for (uint32_t i = 0; i < ret->n_cores; i++)
        ret->cores[i] = read_u16(r);
    ret->vni = read_u32(r);
    ret->ip = read_u32(r);
    ret->prefix = read_u8(r);
    ret->port = read_u16(r);
    if (!r->failed && run_is_sound(ret))
        return 0;
    reader_fail(r);
    guest_run_deinit(ret);
    return -EBADMSG;
}
