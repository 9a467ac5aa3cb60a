#include "tests/support/bad_machine.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static sc_bad_machine *machine; /* NULL: nothing is wrong with it */

__attribute__((constructor)) static void map(void)
{
    const char *path = getenv(SC_BAD_MACHINE_VARIABLE);
    int         fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    void *memory = fd < 0 ? MAP_FAILED
                          : mmap(NULL, sizeof *machine, PROT_READ, MAP_SHARED, fd, 0);
    if (memory != MAP_FAILED)
        machine = memory;
    if (fd >= 0)
        close(fd);
}

/* In place of the C library's. */
int clock_gettime(clockid_t id, struct timespec *now)
{
    int failed = (int)syscall(SYS_clock_gettime, id, now);
    if (failed == 0 && machine != NULL && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        now->tv_sec += atomic_load(&machine->clock_offset_s);
    return failed;
}

ssize_t write(int fd, const void *bytes, size_t len)
{
    if (fd == STDERR_FILENO && machine != NULL && atomic_load(&machine->log_full)) {
        errno = ENOSPC;
        return -1;
    }
    return syscall(SYS_write, fd, bytes, len);
}
