/* unpack: what images may hold and may not, and their digest. Runs as anybody: the child that is
 * locked in needs root, and is the lab's to test (tests/lab/20-cell.t). */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/guest/unpack_archive.h"
#include "base/digest_sodium.h"
#include "base/tree_posix.h"

enum { BLOCK = 512 };

static const struct unpack_limits generous = {.max_bytes = 1 << 20, .max_entries = 100};

struct place {
    char start[256]; /* working directory of the test program */
    char outside[64], root[96];
};

static int make_place(void **state)
{
    struct place *place = calloc(1, sizeof(*place));

    assert_non_null(getcwd(place->start, sizeof(place->start)));
    snprintf(place->outside, sizeof(place->outside), "/tmp/skein-unpack-XXXXXX");
    assert_non_null(mkdtemp(place->outside));
    snprintf(place->root, sizeof(place->root), "%s/root", place->outside);
    assert_int_equal(mkdir(place->root, 0755), 0);
    assert_int_equal(chdir(place->root), 0);
    *state = place;
    return 0;
}

static int remove_place(void **state)
{
    struct place *place = *state;

    assert_int_equal(chdir(place->start), 0);
    assert_int_equal(tree_remove(place->outside, NULL), 0);
    free(place);
    return 0;
}

/* One member in the ustar format (POSIX.1-1988), its content padded to whole blocks. */
static void add_member(int fd, char type, const char *name, const char *target, const char *content)
{
    char header[BLOCK] = {0}, block[BLOCK] = {0};
    size_t size = content != NULL ? strlen(content) : 0;
    unsigned sum = 0;

    snprintf(header, 100, "%s", name);
    snprintf(header + 100, 8, "%07o", type == '5' ? 0755u : 0644u);
    snprintf(header + 108, 8, "%07o", (unsigned)getuid());
    snprintf(header + 116, 8, "%07o", (unsigned)getgid());
    snprintf(header + 124, 12, "%011o", (unsigned)size);
    snprintf(header + 136, 12, "%011o", 1000000u);
    memset(header + 148, ' ', 8);
    header[156] = type;
    snprintf(header + 157, 100, "%s", target != NULL ? target : "");
    memcpy(header + 257, "ustar\00000", 8);
    snprintf(header + 329, 8, "%07o", 1u);
    snprintf(header + 337, 8, "%07o", 3u);
    for (int i = 0; i < BLOCK; i++)
        sum += (unsigned char)header[i];
    snprintf(header + 148, 7, "%06o", sum);
    assert_int_equal(write(fd, header, BLOCK), BLOCK);
    if (size > 0) {
        assert_true(size <= BLOCK);
        memcpy(block, content, size);
        assert_int_equal(write(fd, block, BLOCK), BLOCK);
    }
}

static void end_archive(int fd)
{
    static const char nothing[2 * BLOCK];

    assert_int_equal(write(fd, nothing, sizeof(nothing)), sizeof(nothing));
}

static int new_archive(void)
{
    int fd = memfd_create("archive", MFD_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

static void assert_content(const char *path, const char *wanted)
{
    char content[64] = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_true(read(fd, content, sizeof(content) - 1) >= 0);
    close(fd);
    assert_string_equal(content, wanted);
}

static void ordinary_archive_is_unpacked(void **state)
{
    int fd = new_archive();
    struct stat status;
    struct err err;

    (void)state;
    add_member(fd, '5', "./", NULL, NULL);
    add_member(fd, '5', "bin/", NULL, NULL);
    add_member(fd, '0', "bin/tool", NULL, "tool");
    add_member(fd, '2', "bin/sh", "tool", NULL);
    add_member(fd, '1', "bin/twin", "bin/tool", NULL);
    add_member(fd, '0', "./etc/made/on/the/way", NULL, "way");
    end_archive(fd);

    assert_int_equal(unpack_into_here(fd, &generous, &err), 0);

    assert_content("bin/tool", "tool");
    assert_content("bin/sh", "tool");
    assert_content("etc/made/on/the/way", "way");
    assert_int_equal(stat("bin/twin", &status), 0);
    assert_int_equal(status.st_nlink, 2);
    assert_int_equal(status.st_mode & 07777, 0644);
    assert_int_equal(status.st_mtime, 1000000);
    close(fd);
}

static void devices_are_left_out(void **state)
{
    int fd = new_archive();
    struct err err;

    (void)state;
    add_member(fd, '3', "null", NULL, NULL);
    add_member(fd, '4', "disk", NULL, NULL);
    add_member(fd, '0', "file", NULL, "here");
    end_archive(fd);

    assert_int_equal(unpack_into_here(fd, &generous, &err), 0);

    assert_content("file", "here");
    assert_int_equal(access("null", F_OK), -1);
    assert_int_equal(access("disk", F_OK), -1);
    close(fd);
}

/* Each archive tries to write `outside/caught`, or to get at `outside/secret`. */
static void archives_that_reach_outside_are_refused(void **state)
{
    struct place *place = *state;
    char absolute[128], through[128];
    const struct {
        const char *what;
        struct {
            char type;
            const char *name, *target, *content;
        } members[2];
    } attacks[] = {
        {"a name with ..", {{'0', "../caught", NULL, "x"}}},
        {"a name with .. inside", {{'5', "a", NULL, NULL}, {'0', "a/../../caught", NULL, "x"}}},
        {"an absolute name", {{'0', absolute, NULL, "x"}}},
        {"through a symbolic link", {{'2', "way", "..", NULL}, {'0', "way/caught", NULL, "x"}}},
        {"through an absolute link",
         {{'2', "way", place->outside, NULL}, {'0', "way/caught", NULL, "x"}}},
        {"a directory through a link",
         {{'2', "way", place->outside, NULL}, {'5', "way/caught", NULL, NULL}}},
        {"a hard link to ..", {{'1', "stolen", "../secret", NULL}}},
        {"an absolute hard link", {{'1', "stolen", through, NULL}}},
        {"a hard link through a link",
         {{'2', "way", "..", NULL}, {'1', "stolen", "way/secret", NULL}}},
    };
    int secret;

    snprintf(absolute, sizeof(absolute), "%s/caught", place->outside);
    snprintf(through, sizeof(through), "%s/secret", place->outside);
    secret = open(through, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(secret >= 0);
    close(secret);
    for (size_t i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++) {
        int fd = new_archive();
        struct err err = {0};

        for (int m = 0; m < 2 && attacks[i].members[m].name != NULL; m++)
            add_member(fd, attacks[i].members[m].type, attacks[i].members[m].name,
                       attacks[i].members[m].target, attacks[i].members[m].content);
        end_archive(fd);
        print_message("# %s\n", attacks[i].what);
        assert_int_equal(unpack_into_here(fd, &generous, &err), -EINVAL);
        assert_non_null(strstr(err.text, "the image is no archive that can be unpacked"));
        assert_int_equal(access(absolute, F_OK), -1);
        assert_int_equal(access("stolen", F_OK), -1);
        unlink("way");
        close(fd);
    }
}

/* A link that is replaced by a file is no way out: the link goes. */
static void file_replaces_a_link(void **state)
{
    int fd = new_archive();
    struct err err;

    (void)state;
    add_member(fd, '2', "way", "../caught", NULL);
    add_member(fd, '0', "way", NULL, "inside");
    end_archive(fd);

    assert_int_equal(unpack_into_here(fd, &generous, &err), 0);

    assert_content("way", "inside");
    assert_int_equal(access("../caught", F_OK), -1);
    close(fd);
}

static void limits_hold(void **state)
{
    const struct unpack_limits few = {.max_bytes = 1 << 20, .max_entries = 2};
    const struct unpack_limits small = {.max_bytes = 10, .max_entries = 100};
    int fd = new_archive();
    struct err err;

    (void)state;
    add_member(fd, '0', "one", NULL, "123456");
    add_member(fd, '0', "two", NULL, "123456");
    add_member(fd, '0', "three", NULL, "");
    end_archive(fd);

    assert_int_equal(unpack_into_here(fd, &few, &err), -EFBIG);
    assert_string_equal(err.text, "the image holds more than 2 files");
    assert_int_equal(unpack_into_here(fd, &small, &err), -EFBIG);
    close(fd);
}

static void what_is_no_archive_is_refused(void **state)
{
    static const char *const contents[] = {"", "hello, this is no archive", "hsqs and more",
                                           "\x1f\x8b\x08 broken gzip",
                                           "\x28\xb5\x2f\xfd broken zstd"};
    int fd;
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof(contents) / sizeof(contents[0]); i++) {
        fd = new_archive();
        assert_true(write(fd, contents[i], strlen(contents[i])) >= 0);
        assert_int_equal(unpack_into_here(fd, &generous, &err), -EINVAL);
        close(fd);
    }
    fd = new_archive();
    end_archive(fd);
    assert_int_equal(unpack_into_here(fd, &generous, &err), -EINVAL);
    assert_string_equal(err.text, "the image is an empty archive");
    close(fd);
}

static void archive_that_ends_early_is_refused(void **state)
{
    int fd = new_archive();
    struct err err;

    (void)state;
    add_member(fd, '0', "file", NULL, "content");
    assert_int_equal(ftruncate(fd, BLOCK + 3), 0);

    assert_int_equal(unpack_into_here(fd, &generous, &err), -EINVAL);
    close(fd);
}

static void other_bytes_than_the_digest_says_are_refused(void **state)
{
    struct place *place = *state;
    uint8_t digest[DIGEST_SIZE];
    char root[128], half_done[160];
    int fd = new_archive();
    struct err err;

    snprintf(root, sizeof(root), "%s/image", place->outside);
    snprintf(half_done, sizeof(half_done), "%s.new", root);
    add_member(fd, '0', "file", NULL, "content");
    end_archive(fd);
    assert_int_equal(digest_of_file(fd, digest, NULL, &err), 0);
    digest[0] ^= 1;

    assert_int_equal(unpack_image(fd, digest, root, &err), -EBADMSG);

    assert_int_equal(access(root, F_OK), -1);
    assert_int_equal(access(half_done, F_OK), -1);
    close(fd);
}

static void digests_are_those_of_the_standard(void **state)
{
    uint8_t digest[DIGEST_SIZE];
    char text[DIGEST_TEXT_SIZE];

    (void)state;
    digest_of("abc", 3, digest); /* BLAKE2b-256 */
    assert_string_equal(digest_format(digest, text),
                        "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ordinary_archive_is_unpacked, make_place, remove_place),
        cmocka_unit_test_setup_teardown(devices_are_left_out, make_place, remove_place),
        cmocka_unit_test_setup_teardown(archives_that_reach_outside_are_refused, make_place,
                                        remove_place),
        cmocka_unit_test_setup_teardown(file_replaces_a_link, make_place, remove_place),
        cmocka_unit_test_setup_teardown(limits_hold, make_place, remove_place),
        cmocka_unit_test_setup_teardown(what_is_no_archive_is_refused, make_place, remove_place),
        cmocka_unit_test_setup_teardown(archive_that_ends_early_is_refused, make_place,
                                        remove_place),
        cmocka_unit_test_setup_teardown(other_bytes_than_the_digest_says_are_refused, make_place,
                                        remove_place),
        cmocka_unit_test(digests_are_those_of_the_standard),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
