/* A disk that a test can fill up, break, or cut off from power.
 *
 * Preloaded into a server, it intercepts the file operations of SQLite. A second folder holds what would be
 * left after a power cut: each file of the log as of its last sync.
 *
 * DISK_DATA     the folder of the log
 * DISK_SYNCED   the folder of the synced copies
 * DISK_CUT      the number of changes of the log after which the process is killed (never, if unset)
 * DISK_LIES     if set, the write-ahead log is never really synced, as in a database that does not wait for
 *               the disk at each commit
 * DISK_FAULT    a file; while it contains "full", writes fail, and while it contains "broken", syncs fail
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

/* The name of a file of the log: "log.db" and the files that SQLite puts beside it, except the shared memory,
 * which SQLite rebuilds after a crash. NULL for other files. */
static const char *log_name(const char *path) {
    const char *folder = getenv("DISK_DATA");
    size_t length = folder ? strlen(folder) : 0;
    if (!length || strncmp(path, folder, length) || path[length] != '/') return NULL;
    const char *name = path + length + 1;
    return strncmp(name, "log.db", 6) || !strcmp(name, "log.db-shm") ? NULL : name;
}

static const char *log_file(int fd, char path[PATH_MAX]) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return NULL;
    path[length] = 0;
    return log_name(path);
}

static int has_fault(const char *wanted) {
    const char *path = getenv("DISK_FAULT");
    FILE *file = path ? fopen(path, "r") : NULL;
    char found[16] = "";
    if (!file) return 0;
    if (!fgets(found, sizeof found, file)) found[0] = 0;
    fclose(file);
    return !strcmp(found, wanted);
}

/* Counts a change; kills the process before change number DISK_CUT. */
static void change(void) {
    static atomic_long changes = 0;
    const char *cut = getenv("DISK_CUT");
    if (cut && atomic_fetch_add(&changes, 1) >= atol(cut)) {
        kill(getpid(), SIGKILL);
        for (;;) pause();
    }
}

/* Copies a file to the synced folder. Truncates it last, so that synced data is never missing. */
static void copy_synced(const char *path, const char *name) {
    static ssize_t (*write_at)(int, const void *, size_t, off_t);
    if (!write_at) *(void **)&write_at = dlsym(RTLD_NEXT, "pwrite64");
    static int (*cut_to)(int, off_t);
    if (!cut_to) *(void **)&cut_to = dlsym(RTLD_NEXT, "ftruncate64");
    char target[PATH_MAX], buffer[65536];
    snprintf(target, sizeof target, "%s/%s", getenv("DISK_SYNCED"), name);
    int from = open(path, O_RDONLY), to = open(target, O_WRONLY | O_CREAT, 0600);
    off_t at = 0;
    for (ssize_t n; (n = pread(from, buffer, sizeof buffer, at)) > 0; at += n)
        if (write_at(to, buffer, n, at) != n) abort();
    if (from < 0 || to < 0 || cut_to(to, at)) abort();
    close(from);
    close(to);
}

static int sync_file(int fd, const char *function) {
    int (*real)(int);
    *(void **)&real = dlsym(RTLD_NEXT, function);
    char path[PATH_MAX];
    const char *name = log_file(fd, path);
    if (!name) return real(fd);
    change();
    if (has_fault("broken")) { errno = EIO; return -1; }
    int result = real(fd);
    int lies = getenv("DISK_LIES") && strstr(name, "-wal");
    if (!result && !lies && getenv("DISK_SYNCED")) copy_synced(path, name);
    return result;
}

int fsync(int fd) { return sync_file(fd, "fsync"); }
int fdatasync(int fd) { return sync_file(fd, "fdatasync"); }

/* Counts a change of a file; returns 0 with ENOSPC if the disk is full. */
static int may_change(int fd) {
    char path[PATH_MAX];
    if (!log_file(fd, path)) return 1;
    change();
    if (!has_fault("full")) return 1;
    errno = ENOSPC;
    return 0;
}

#define REAL(type, name, ...)                                   \
    static type (*real)(__VA_ARGS__);                           \
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, name)

ssize_t write(int fd, const void *bytes, size_t n) {
    REAL(ssize_t, "write", int, const void *, size_t);
    return may_change(fd) ? real(fd, bytes, n) : -1;
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at) {
    REAL(ssize_t, "pwrite", int, const void *, size_t, off_t);
    return may_change(fd) ? real(fd, bytes, n, at) : -1;
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t at) {
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    return may_change(fd) ? real(fd, bytes, n, at) : -1;
}

int ftruncate(int fd, off_t size) {
    REAL(int, "ftruncate", int, off_t);
    return may_change(fd) ? real(fd, size) : -1;
}

int ftruncate64(int fd, off64_t size) {
    REAL(int, "ftruncate64", int, off64_t);
    return may_change(fd) ? real(fd, size) : -1;
}

int unlink(const char *path) {
    REAL(int, "unlink", const char *);
    const char *name = log_name(path);
    if (name && getenv("DISK_SYNCED")) {
        char synced[PATH_MAX];
        change();
        snprintf(synced, sizeof synced, "%s/%s", getenv("DISK_SYNCED"), name);
        real(synced);
    }
    return real(path);
}
