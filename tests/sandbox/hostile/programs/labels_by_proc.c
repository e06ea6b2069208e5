// expect: exit
// tries: reaches the host's files through /proc
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int n, char **a) {
    char path[4096];
    for (int pid = 1; pid < 64; pid++) {
        snprintf(path, sizeof path, "/proc/%d/root%s", pid, n > 1 ? a[1] : "/etc/passwd");
        if (open(path, O_RDONLY) >= 0) return 42;
        snprintf(path, sizeof path, "/proc/%d/environ", pid);
        if (open(path, O_RDONLY) >= 0) return 42;
        snprintf(path, sizeof path, "/proc/%d/mem", pid);
        if (open(path, O_RDWR) >= 0) return 42;
    }
    return 1;
}
