// expect: exit
// tries: raises its limits
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) {
    struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
    int got = setrlimit(RLIMIT_NPROC, &none) == 0 || setrlimit(RLIMIT_CPU, &none) == 0 ||
              setrlimit(RLIMIT_FSIZE, &none) == 0 || setrlimit(RLIMIT_NOFILE, &none) == 0;
    return got ? 42 : 1;
}
