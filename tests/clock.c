/* A clock that can be set, for the programs that preload this: they are told the time of day so many nanoseconds ahead
   as the file says whose path is in CLOCK_AHEAD. What counts seconds (CLOCK_MONOTONIC) goes on, as on a machine whose
   clock is set. (Debian's libfaketime 0.9.10 breaks the sleep of Python 3.11: its issue 426.) */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL

static const volatile int64_t *ahead;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("CLOCK_AHEAD");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *mapped = mmap(NULL, sizeof *ahead, PROT_READ, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED)
        ahead = mapped;
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    int failed = (int)syscall(SYS_clock_gettime, clock, at);
    if (!failed && ahead && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t told = at->tv_sec * SECOND + at->tv_nsec + *ahead;
        at->tv_sec = told / SECOND;
        at->tv_nsec = told % SECOND;
    }
    return failed;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    struct timespec told;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &told);
    at->tv_sec = told.tv_sec;
    at->tv_usec = told.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec told;
    clock_gettime(CLOCK_REALTIME, &told);
    if (at)
        *at = told.tv_sec;
    return told.tv_sec;
}
