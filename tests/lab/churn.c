/* churn DIRECTORY... : writes to files all the time in every way that there is, and knows what they
 * have to be like. Every half second or so it looks at all of them, and says:
 *
 *     churn: N changes, W wrong, longest pause P ms
 *
 * The first file that is wrong is named. What it knows is in its memory, so that memory and files
 * of a guest that moved have to be of one moment. A pause is counted by the realtime clock, from
 * one change to the next, since the line before.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

enum {
    N_DIRECTORIES = 6,
    N_NAMES = 24, /* a directory */
    N_INODES = N_DIRECTORIES * N_NAMES,
    BLOCK = 4096,
    MAX_BLOCKS = 8,
    MAPPED_BLOCKS = 64,
    PAUSE_US = 10000,
    LOOK_EVERY = 50,
};

struct inode {
    uint32_t n_names; /* 0: free */
    uint32_t n_blocks;
    uint32_t mode;
    uint64_t blocks[MAX_BLOCKS]; /* what each is filled with */
};

struct tree {
    const char *top;
    int generation[N_DIRECTORIES];     /* a directory's name changes with it */
    int names[N_DIRECTORIES][N_NAMES]; /* an inode, or -1 */
    bool is_link[N_DIRECTORIES][N_NAMES];
    struct inode inodes[N_INODES];
    uint64_t *mapped;
    uint64_t mapping[MAPPED_BLOCKS];
    uint64_t n_logged;
    int log;
    int note[N_DIRECTORIES]; /* an attribute of the directory; 0: none */
};

static uint64_t n_changes, n_wrong, next_fill = 1;

static void fail(const char *what, const char *path)
{
    printf("churn: cannot %s %s: %s\n", what, path, strerror(errno));
    exit(1);
}

static void wrong(const char *what, const char *path)
{
    if (n_wrong++ == 0)
        printf("churn: %s is wrong: %s\n", path, what);
}

static void path_of(const struct tree *t, int d, int n, char ret[256])
{
    int used = snprintf(ret, 256, "%s/d%d-%d", t->top, d, t->generation[d]);

    if (n >= 0)
        snprintf(ret + used, 256 - (size_t)used, "/n%d", n);
}

static void fill(uint64_t *block, uint64_t with)
{
    for (size_t i = 0; i < BLOCK / sizeof(*block); i++)
        block[i] = with * 0x9e3779b97f4a7c15u + i;
}

static void write_block(struct inode *inode, int fd, uint32_t i, const char *path)
{
    uint64_t block[BLOCK / sizeof(uint64_t)];

    inode->blocks[i] = next_fill++;
    fill(block, inode->blocks[i]);
    if (pwrite(fd, block, BLOCK, (off_t)i * BLOCK) != BLOCK)
        fail("write", path);
}

/* ---- changes */

static void forget(struct tree *t, int d, int n)
{
    int inode = t->names[d][n];

    t->names[d][n] = -1;
    if (inode >= 0 && !t->is_link[d][n])
        t->inodes[inode].n_names--;
    t->is_link[d][n] = false;
}

static int new_inode(const struct tree *t)
{
    int i = 0;

    while (i < N_INODES && t->inodes[i].n_names > 0)
        i++;
    return i;
}

static void make(struct tree *t, int d, int n)
{
    int number = new_inode(t), fd;
    struct inode *inode = &t->inodes[number];
    char path[256];

    path_of(t, d, n, path);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        fail("make", path);
    *inode =
        (struct inode){.n_names = 1, .n_blocks = (uint32_t)(1 + rand() % MAX_BLOCKS), .mode = 0600};
    for (uint32_t i = 0; i < inode->n_blocks; i++)
        write_block(inode, fd, i, path);
    close(fd);
    t->names[d][n] = number;
}

/* In place, or one block more, or cut. */
static void change(struct tree *t, int d, int n)
{
    struct inode *inode = &t->inodes[t->names[d][n]];
    uint32_t size = (uint32_t)(1 + rand() % MAX_BLOCKS);
    char path[256];
    int fd;

    path_of(t, d, n, path);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        fail("open", path);
    if (size < inode->n_blocks && rand() % 2) {
        if (ftruncate(fd, (off_t)size * BLOCK) < 0)
            fail("cut", path);
        inode->n_blocks = size;
    } else {
        size = (uint32_t)rand() % (inode->n_blocks < MAX_BLOCKS ? inode->n_blocks + 1 : MAX_BLOCKS);
        write_block(inode, fd, size, path);
        inode->n_blocks = size == inode->n_blocks ? size + 1 : inode->n_blocks;
    }
    close(fd);
}

static void set_mode(struct tree *t, int d, int n)
{
    struct inode *inode = &t->inodes[t->names[d][n]];
    char path[256];

    path_of(t, d, n, path);
    inode->mode = 0600 + (uint32_t)rand() % 64;
    if (chmod(path, inode->mode) < 0)
        fail("chmod", path);
}

static void remove_name(struct tree *t, int d, int n)
{
    char path[256];

    path_of(t, d, n, path);
    if (unlink(path) < 0)
        fail("remove", path);
    forget(t, d, n);
}

static void move_name(struct tree *t, int d, int n, int to_d, int to_n)
{
    char path[256], to[256];

    if (t->names[to_d][to_n] == t->names[d][n]) /* rename of two names of one inode does nothing */
        return;
    path_of(t, d, n, path);
    path_of(t, to_d, to_n, to);
    if (rename(path, to) < 0)
        fail("rename", path);
    forget(t, to_d, to_n);
    t->names[to_d][to_n] = t->names[d][n];
    t->names[d][n] = -1;
}

static void link_name(struct tree *t, int d, int n, int to_d, int to_n)
{
    char path[256], to[256];

    if (t->names[to_d][to_n] >= 0)
        return;
    path_of(t, d, n, path);
    path_of(t, to_d, to_n, to);
    if (link(path, to) < 0)
        fail("link", path);
    t->names[to_d][to_n] = t->names[d][n];
    t->inodes[t->names[d][n]].n_names++;
}

/* A symbolic link whose text is a number. */
static void make_link(struct tree *t, int d, int n)
{
    char path[256], text[16];

    path_of(t, d, n, path);
    t->names[d][n] = rand() % 1000;
    t->is_link[d][n] = true;
    snprintf(text, sizeof(text), "%d", t->names[d][n]);
    if (symlink(text, path) < 0)
        fail("link", path);
}

static void rename_directory(struct tree *t, int d)
{
    char path[256], to[256];

    path_of(t, d, -1, path);
    t->generation[d]++;
    path_of(t, d, -1, to);
    if (rename(path, to) < 0)
        fail("rename", path);
}

/* As a directory that takes the place of another. */
static void empty_directory(struct tree *t, int d)
{
    char path[256];

    for (int n = 0; n < N_NAMES; n++) {
        if (t->names[d][n] >= 0)
            remove_name(t, d, n);
    }
    path_of(t, d, -1, path);
    if (rmdir(path) < 0 || mkdir(path, 0755) < 0)
        fail("make anew", path);
    t->note[d] = 0;
}

static void note(struct tree *t, int d)
{
    char path[256];

    path_of(t, d, -1, path);
    t->note[d] = rand() % 3;
    if (t->note[d] == 0)
        (void)removexattr(path, "user.note");
    else if (setxattr(path, "user.note", &t->note[d], sizeof(int), 0) < 0 && errno == ENOTSUP)
        t->note[d] = 0;
}

static void write_mapped(struct tree *t)
{
    int i = rand() % MAPPED_BLOCKS;

    t->mapping[i] = next_fill++;
    fill(t->mapped + (size_t)i * BLOCK / sizeof(uint64_t), t->mapping[i]);
}

static void log_line(struct tree *t)
{
    char line[32];
    int size = snprintf(line, sizeof(line), "%020llu\n", (unsigned long long)t->n_logged++);

    if (write(t->log, line, (size_t)size) != size)
        fail("log to", t->top);
}

static void do_to_name(struct tree *t, int d, int n)
{
    int to_d = rand() % N_DIRECTORIES, to_n = rand() % N_NAMES, what = rand() % 8;

    if (t->names[d][n] < 0)
        rand() % 8 ? make(t, d, n) : make_link(t, d, n);
    else if (t->is_link[d][n] || what == 0)
        remove_name(t, d, n);
    else if (what == 1)
        move_name(t, d, n, to_d, to_n);
    else if (what == 2)
        link_name(t, d, n, to_d, to_n);
    else if (what == 3)
        set_mode(t, d, n);
    else
        change(t, d, n);
}

static void do_anything(struct tree *t)
{
    int d = rand() % N_DIRECTORIES, what = rand() % 100;

    if (what < 2)
        rename_directory(t, d);
    else if (what < 3)
        empty_directory(t, d);
    else if (what < 8)
        note(t, d);
    else if (what < 16)
        write_mapped(t);
    else if (what < 24)
        log_line(t);
    else
        do_to_name(t, d, rand() % N_NAMES);
    n_changes++;
}

/* ---- what it has to be like */

static void check_content(const struct inode *inode, int fd, const char *path)
{
    uint64_t is[BLOCK / sizeof(uint64_t)], wanted[BLOCK / sizeof(uint64_t)];

    for (uint32_t i = 0; i < inode->n_blocks; i++) {
        fill(wanted, inode->blocks[i]);
        if (pread(fd, is, BLOCK, (off_t)i * BLOCK) != BLOCK || memcmp(is, wanted, BLOCK) != 0) {
            wrong("its content", path);
            return;
        }
    }
}

static void check_file(const struct inode *inode, const char *path)
{
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct stat status;

    if (fd < 0 || fstat(fd, &status) < 0) {
        wrong("it is not there", path);
        return;
    }
    if (status.st_size != (off_t)inode->n_blocks * BLOCK)
        wrong("its size", path);
    else if ((status.st_mode & 07777) != inode->mode)
        wrong("its mode", path);
    else if (status.st_nlink != inode->n_names)
        wrong("how many names it has", path);
    else
        check_content(inode, fd, path);
    close(fd);
}

static void check_name(const struct tree *t, int d, int n)
{
    char path[256], text[16] = "";
    struct stat status;

    path_of(t, d, n, path);
    if (t->names[d][n] < 0) {
        if (lstat(path, &status) == 0)
            wrong("it is there", path);
    } else if (t->is_link[d][n]) {
        if (readlink(path, text, sizeof(text) - 1) < 0 || atoi(text) != t->names[d][n])
            wrong("where it leads", path);
    } else {
        check_file(&t->inodes[t->names[d][n]], path);
    }
}

static void check_directory(const struct tree *t, int d)
{
    char path[256];
    int value = 0;

    path_of(t, d, -1, path);
    if (getxattr(path, "user.note", &value, sizeof(value)) < 0)
        value = 0;
    if (value != t->note[d])
        wrong("its attribute", path);
    for (int n = 0; n < N_NAMES; n++)
        check_name(t, d, n);
}

/* Nothing else is there: one that was renamed is not there twice. */
static void check_top(const struct tree *t)
{
    DIR *directory = opendir(t->top);
    int n = 0;

    if (directory == NULL)
        fail("read", t->top);
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;)
        n += entry->d_name[0] != '.';
    closedir(directory);
    if (n != N_DIRECTORIES + 2)
        wrong("how much there is in it", t->top);
}

static void check_mapped(const struct tree *t)
{
    uint64_t block[BLOCK / sizeof(uint64_t)];
    char path[256];
    int fd;

    snprintf(path, sizeof(path), "%s/mapped", t->top);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    for (int i = 0; i < MAPPED_BLOCKS; i++) {
        uint64_t is[BLOCK / sizeof(uint64_t)];

        fill(block, t->mapping[i]);
        if (pread(fd, is, BLOCK, (off_t)i * BLOCK) != BLOCK || memcmp(is, block, BLOCK) != 0)
            wrong("what was written through its mapping", path);
    }
    close(fd);
}

static void check_log(const struct tree *t)
{
    struct stat status;

    if (fstat(t->log, &status) < 0 || status.st_size != (off_t)t->n_logged * 21)
        wrong("its log", t->top);
}

static void check(const struct tree *t)
{
    for (int d = 0; d < N_DIRECTORIES; d++)
        check_directory(t, d);
    check_top(t);
    check_mapped(t);
    check_log(t);
}

/* ---- */

static void begin(struct tree *t, const char *top)
{
    char path[256];
    int fd;

    *t = (struct tree){.top = top};
    (void)mkdir(top, 0755);
    for (int d = 0; d < N_DIRECTORIES; d++) {
        path_of(t, d, -1, path);
        if (mkdir(path, 0755) < 0)
            fail("make", path);
        for (int n = 0; n < N_NAMES; n++)
            t->names[d][n] = -1;
    }
    snprintf(path, sizeof(path), "%s/log", top);
    t->log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    snprintf(path, sizeof(path), "%s/mapped", top);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (t->log < 0 || fd < 0 || ftruncate(fd, (off_t)MAPPED_BLOCKS * BLOCK) < 0)
        fail("make", path);
    t->mapped =
        mmap(NULL, (size_t)MAPPED_BLOCKS * BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (t->mapped == MAP_FAILED)
        fail("map", path);
    close(fd);
    for (int i = 0; i < MAPPED_BLOCKS; i++)
        fill(t->mapped + (size_t)i * BLOCK / sizeof(uint64_t), 0);
}

static uint64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

int main(int argc, char **argv)
{
    struct tree *trees = calloc((size_t)argc, sizeof(*trees));
    uint64_t last_us = now_us(), longest_us = 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 1; i < argc; i++)
        begin(&trees[i - 1], argv[i]);
    for (;;) {
        uint64_t us = now_us();

        longest_us = us > last_us && us - last_us > longest_us ? us - last_us : longest_us;
        last_us = us;
        for (int i = 1; i < argc; i++)
            do_anything(&trees[i - 1]);
        if (n_changes / (uint64_t)(argc - 1) % LOOK_EVERY == 0) {
            for (int i = 1; i < argc; i++)
                check(&trees[i - 1]);
            printf("churn: %llu changes, %llu wrong, longest pause %llu ms\n",
                   (unsigned long long)n_changes, (unsigned long long)n_wrong,
                   (unsigned long long)longest_us / 1000);
            longest_us = 0;
            last_us = now_us();
        }
        usleep(PAUSE_US);
    }
}
