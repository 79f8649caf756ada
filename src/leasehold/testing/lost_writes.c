/* Records what a program writes below one folder, what it flushes, and what it tells others, in one order.
 *
 * Preloaded under a real program (LD_PRELOAD). Nothing that the program does is changed: each write is done and
 * recorded, each flush is recorded when it begins and when it has succeeded, each message to a socket or pipe is
 * recorded before it is sent. From the record the disk can be rebuilt as it would be had the power failed at any
 * point (see power_loss.py). LOST_WRITES_FOLDER is the folder, LOST_WRITES_LOG the record; where the file named
 * by LOST_WRITES_BROKEN exists, every flush below the folder fails with EIO and flushes nothing.
 *
 * Not seen: writes through a shared mapping, sendfile and copy_file_range (their use on a file below the folder is
 * recorded, so that the reader can refuse it; SQLite maps only its -shm file, which a power failure drops anyway),
 * io_uring, and what stdio writes inside the C library.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define FDS 65536
#define OUTPUT_MAX (1 << 20)

/* kind: C a file made, O a file and F a folder opened, W written, T given a size, B a flush begun and E done,
 * U a name removed, R changed, L added, D a folder made, P a message, X a file changed in a way that is not seen. */
struct record {
    char kind;
    char zeros[3];
    uint32_t path_length;
    uint64_t file;   /* inode, the number of a flush, or a descriptor */
    uint64_t offset; /* offset, or size */
    uint64_t length; /* of the data that follows the path */
};

static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
static char folder[4096];
static size_t folder_length;
static const char *broken;
static int log_fd = -1;
static uint64_t files[FDS]; /* descriptor -> inode of a file or folder below the folder; 0: not ours */
static uint64_t flushes;
static pid_t owner; /* a child of vfork shares this memory: what it does there is not ours to note */

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static int active(void) { return log_fd >= 0 && getpid() == owner; }

static void forked(void) {
    owner = getpid();
    pthread_mutex_init(&order, 0);
}

__attribute__((constructor)) static void begin(void) {
    const char *of = getenv("LOST_WRITES_FOLDER"), *log = getenv("LOST_WRITES_LOG");
    broken = getenv("LOST_WRITES_BROKEN");
    if (!of || !log || strlen(of) >= sizeof folder) return;
    strcpy(folder, of);
    folder_length = strlen(folder);
    REAL(open);
    int low = real(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (low < 0) return;
    log_fd = fcntl(low, F_DUPFD_CLOEXEC, 900);
    if (log_fd < 0) log_fd = low;
    owner = getpid();
    pthread_atfork(0, 0, forked);
}

static void put(char kind, uint64_t file, uint64_t offset, const char *path, const struct iovec *data, int parts, size_t length) {
    REAL(writev);
    struct record head = {kind, {0}, path ? strlen(path) : 0, file, offset, length};
    struct iovec out[66] = {{&head, sizeof head}, {(void *)path, head.path_length}};
    if (parts > 64) abort();
    int count = 2;
    size_t left = length;
    for (int i = 0; i < parts && left; i++) {
        out[count] = data[i];
        if (out[count].iov_len > left) out[count].iov_len = left;
        left -= out[count++].iov_len;
    }
    size_t total = sizeof head + head.path_length + length;
    int saved = errno;
    if (real(log_fd, out, count) != (ssize_t)total) {
        static const char said[] = "lost_writes: the record can't be written\n";
        (void)!syscall(1, 2, said, sizeof said - 1);
        _exit(113);
    }
    errno = saved;
}

static int below(const char *path) {
    return active() && !strncmp(path, folder, folder_length) && (path[folder_length] == '/' || !path[folder_length]);
}

static int ours(int fd) { return fd >= 0 && fd < FDS && files[fd] && active(); }

/* An absolute path for `path` as seen from `at`; links in it are not followed. */
static const char *absolute(int at, const char *path, char *room) {
    if (path[0] == '/') return path;
    char from[64];
    ssize_t n;
    if (at == AT_FDCWD) {
        if (!getcwd(room, 4096)) return path;
        n = strlen(room);
    } else {
        snprintf(from, sizeof from, "/proc/self/fd/%d", at);
        n = readlink(from, room, 4095);
        if (n < 0) return path;
    }
    snprintf(room + n, 4096 - n, "/%s", path);
    return room;
}

/* -- opening and closing */

static void opened(int fd, int flags, int existed) {
    char from[64], path[4096];
    if (fd < 0 || fd >= FDS) return;
    files[fd] = 0;
    snprintf(from, sizeof from, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(from, path, sizeof path - 1);
    if (n < 0) return;
    path[n] = 0;
    if (!below(path)) return;
    struct stat status;
    if (fstat(fd, &status)) return;
    files[fd] = status.st_ino;
    put(S_ISDIR(status.st_mode) ? 'F' : existed ? 'O' : 'C', status.st_ino, 0, path, 0, 0, 0);
    if (existed && (flags & O_TRUNC)) put('T', status.st_ino, 0, 0, 0, 0, 0);
}

#define OPEN(name, at, signature, call) \
    int name signature { \
        REAL(name); \
        mode_t mode = 0; \
        if (flags & (O_CREAT | O_TMPFILE)) { \
            va_list more; \
            va_start(more, flags); \
            mode = va_arg(more, mode_t); \
            va_end(more); \
        } \
        if (!active()) return real call; \
        pthread_mutex_lock(&order); \
        int saved = errno; \
        int existed = !(flags & O_CREAT) || !faccessat(at, path, F_OK, 0); \
        errno = saved; \
        int fd = real call; \
        saved = errno; \
        opened(fd, flags, existed); \
        errno = saved; \
        pthread_mutex_unlock(&order); \
        return fd; \
    }
OPEN(open, AT_FDCWD, (const char *path, int flags, ...), (path, flags, mode))
OPEN(open64, AT_FDCWD, (const char *path, int flags, ...), (path, flags, mode))
OPEN(openat, at, (int at, const char *path, int flags, ...), (at, path, flags, mode))
OPEN(openat64, at, (int at, const char *path, int flags, ...), (at, path, flags, mode))

int creat(const char *path, mode_t mode) { return open(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

int close(int fd) {
    REAL(close);
    if (!active()) return real(fd);
    if (fd == log_fd) return 0;
    pthread_mutex_lock(&order);
    if (fd >= 0 && fd < FDS) files[fd] = 0;
    int result = real(fd);
    pthread_mutex_unlock(&order);
    return result;
}

static int copied(int from, int to) {
    if (from >= 0 && from < FDS && to >= 0 && to < FDS && active()) files[to] = files[from];
    return to;
}
int dup(int fd) {
    REAL(dup);
    return copied(fd, real(fd));
}
int dup2(int fd, int to) {
    REAL(dup2);
    return copied(fd, real(fd, to));
}
int dup3(int fd, int to, int flags) {
    REAL(dup3);
    return copied(fd, real(fd, to, flags));
}

/* -- writing */

static void wrote(int fd, const struct iovec *data, int parts, int64_t offset, ssize_t length) {
    if (length > 0) put('W', files[fd], offset, 0, data, parts, length);
}

/* Where a write without an offset has begun, seen from where it has ended. */
static int64_t began(int fd, ssize_t length) { return lseek(fd, 0, SEEK_CUR) - length; }

static void told(int fd, const struct iovec *data, int parts) {
    struct stat status;
    int saved = errno;
    if (active() && !fstat(fd, &status) && (S_ISSOCK(status.st_mode) || S_ISFIFO(status.st_mode))) {
        size_t length = 0;
        for (int i = 0; i < parts; i++) length += data[i].iov_len;
        if (length > OUTPUT_MAX) length = OUTPUT_MAX;
        pthread_mutex_lock(&order);
        put('P', fd, 0, 0, data, parts > 64 ? 64 : parts, length);
        pthread_mutex_unlock(&order);
    }
    errno = saved;
}

#define AS_ONE struct iovec one = {(void *)data, length}

ssize_t write(int fd, const void *data, size_t length) {
    REAL(write);
    AS_ONE;
    if (!ours(fd)) {
        told(fd, &one, 1);
        return real(fd, data, length);
    }
    pthread_mutex_lock(&order);
    ssize_t result = real(fd, data, length);
    wrote(fd, &one, 1, result > 0 ? began(fd, result) : 0, result);
    pthread_mutex_unlock(&order);
    return result;
}

ssize_t writev(int fd, const struct iovec *data, int parts) {
    REAL(writev);
    if (!ours(fd)) {
        told(fd, data, parts);
        return real(fd, data, parts);
    }
    pthread_mutex_lock(&order);
    ssize_t result = real(fd, data, parts);
    wrote(fd, data, parts, result > 0 ? began(fd, result) : 0, result);
    pthread_mutex_unlock(&order);
    return result;
}

#define PWRITE(name, type) \
    ssize_t name(int fd, const void *data, size_t length, type offset) { \
        REAL(name); \
        AS_ONE; \
        if (!ours(fd)) return real(fd, data, length, offset); \
        pthread_mutex_lock(&order); \
        ssize_t result = real(fd, data, length, offset); \
        wrote(fd, &one, 1, offset, result); \
        pthread_mutex_unlock(&order); \
        return result; \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define PWRITEV(name, type) \
    ssize_t name(int fd, const struct iovec *data, int parts, type offset) { \
        REAL(name); \
        if (!ours(fd)) return real(fd, data, parts, offset); \
        pthread_mutex_lock(&order); \
        ssize_t result = real(fd, data, parts, offset); \
        wrote(fd, data, parts, offset, result); \
        pthread_mutex_unlock(&order); \
        return result; \
    }
PWRITEV(pwritev, off_t)
PWRITEV(pwritev64, off64_t)

ssize_t send(int fd, const void *data, size_t length, int flags) {
    REAL(send);
    AS_ONE;
    told(fd, &one, 1);
    return real(fd, data, length, flags);
}
ssize_t sendto(int fd, const void *data, size_t length, int flags, const struct sockaddr *to, socklen_t size) {
    REAL(sendto);
    AS_ONE;
    told(fd, &one, 1);
    return real(fd, data, length, flags, to, size);
}
ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    REAL(sendmsg);
    told(fd, message->msg_iov, message->msg_iovlen);
    return real(fd, message, flags);
}
int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags) {
    REAL(sendmmsg);
    for (unsigned i = 0; i < count; i++) told(fd, messages[i].msg_hdr.msg_iov, messages[i].msg_hdr.msg_iovlen);
    return real(fd, messages, count, flags);
}

#define TRUNCATE(name, type) \
    int name(int fd, type size) { \
        REAL(name); \
        if (!ours(fd)) return real(fd, size); \
        pthread_mutex_lock(&order); \
        int result = real(fd, size); \
        if (!result) put('T', files[fd], size, 0, 0, 0, 0); \
        pthread_mutex_unlock(&order); \
        return result; \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

/* Room that is made in a file shows as a longer file. */
#define ALLOCATE(name, signature, call) \
    int name signature { \
        REAL(name); \
        if (!ours(fd)) return real call; \
        pthread_mutex_lock(&order); \
        int result = real call; \
        struct stat status; \
        if (!result && !fstat(fd, &status)) put('T', files[fd], status.st_size, 0, 0, 0, 0); \
        pthread_mutex_unlock(&order); \
        return result; \
    }
ALLOCATE(posix_fallocate, (int fd, off_t offset, off_t length), (fd, offset, length))
ALLOCATE(posix_fallocate64, (int fd, off64_t offset, off64_t length), (fd, offset, length))
ALLOCATE(fallocate, (int fd, int mode, off_t offset, off_t length), (fd, mode, offset, length))
ALLOCATE(fallocate64, (int fd, int mode, off64_t offset, off64_t length), (fd, mode, offset, length))

/* -- flushing */

#define FLUSH(name) \
    int name(int fd) { \
        REAL(name); \
        if (!ours(fd)) return real(fd); \
        if (broken && !access(broken, F_OK)) { \
            errno = EIO; \
            return -1; \
        } \
        pthread_mutex_lock(&order); \
        uint64_t number = ++flushes; \
        put('B', files[fd], number, 0, 0, 0, 0); \
        pthread_mutex_unlock(&order); \
        int result = real(fd); \
        pthread_mutex_lock(&order); \
        if (!result) put('E', number, 0, 0, 0, 0, 0); \
        pthread_mutex_unlock(&order); \
        return result; \
    }
FLUSH(fsync)
FLUSH(fdatasync)

/* -- names */

static void named(char kind, int at, const char *path, int to_at, const char *to) {
    char room[4096], to_room[4096];
    const char *whole = absolute(at, path, room);
    const char *to_whole = to ? absolute(to_at, to, to_room) : 0;
    if (!below(whole) && !(to && below(to_whole))) return;
    struct iovec second = {(void *)to_whole, to ? strlen(to_whole) : 0};
    put(kind, 0, 0, whole, &second, to ? 1 : 0, second.iov_len);
}

#define NAME(name, kind, at, path, to_at, to, signature, call) \
    int name signature { \
        REAL(name); \
        if (!active()) return real call; \
        pthread_mutex_lock(&order); \
        int result = real call; \
        if (!result) named(kind, at, path, to_at, to); \
        pthread_mutex_unlock(&order); \
        return result; \
    }
NAME(unlink, 'U', AT_FDCWD, path, 0, 0, (const char *path), (path))
NAME(unlinkat, 'U', at, path, 0, 0, (int at, const char *path, int flags), (at, path, flags))
NAME(remove, 'U', AT_FDCWD, path, 0, 0, (const char *path), (path))
NAME(rmdir, 'U', AT_FDCWD, path, 0, 0, (const char *path), (path))
NAME(rename, 'R', AT_FDCWD, path, AT_FDCWD, to, (const char *path, const char *to), (path, to))
NAME(renameat, 'R', at, path, to_at, to, (int at, const char *path, int to_at, const char *to), (at, path, to_at, to))
NAME(renameat2, 'R', at, path, to_at, to, (int at, const char *path, int to_at, const char *to, unsigned flags),
     (at, path, to_at, to, flags))
NAME(link, 'L', AT_FDCWD, path, AT_FDCWD, to, (const char *path, const char *to), (path, to))
NAME(linkat, 'L', at, path, to_at, to, (int at, const char *path, int to_at, const char *to, int flags),
     (at, path, to_at, to, flags))
NAME(mkdir, 'D', AT_FDCWD, path, 0, 0, (const char *path, mode_t mode), (path, mode))
NAME(mkdirat, 'D', at, path, 0, 0, (int at, const char *path, mode_t mode), (at, path, mode))

/* -- what can't be followed */

static void unseen(int fd, const char *how) {
    if (!ours(fd)) return;
    pthread_mutex_lock(&order);
    put('X', files[fd], 0, how, 0, 0, 0);
    pthread_mutex_unlock(&order);
}

#define MAP(name, type) \
    void *name(void *at, size_t length, int protection, int flags, int fd, type offset) { \
        REAL(name); \
        if ((flags & MAP_SHARED) && (protection & PROT_WRITE)) unseen(fd, "mmap"); \
        return real(at, length, protection, flags, fd, offset); \
    }
MAP(mmap, off_t)
MAP(mmap64, off64_t)

ssize_t sendfile(int to, int from, off_t *offset, size_t count) {
    REAL(sendfile);
    unseen(to, "sendfile");
    return real(to, from, offset, count);
}
ssize_t copy_file_range(int from, off64_t *from_offset, int to, off64_t *to_offset, size_t length, unsigned flags) {
    REAL(copy_file_range);
    unseen(to, "copy_file_range");
    return real(from, from_offset, to, to_offset, length, flags);
}
