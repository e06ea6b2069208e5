// expect: exit
// tries: writes outside of its two folders
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

int main(void) {
    static const char *const places[] = {"/x",     "/aira/x",    "/usr/x", "/usr/lib/x", "/etc/x",
                                         "/dev/x", "/dev/shm/x", "/var/x", "/home/x",    "/root/x",
                                         "/run/x", "/proc/x",    "/sys/x"};
    for (size_t k = 0; k < sizeof places / sizeof *places; k++)
        if (open(places[k], O_WRONLY | O_CREAT, 0666) >= 0) return 42;
    return rename("/aira/aira-box", "/box/x") == 0 || unlink("/aira/aira-box") == 0 ? 42 : 1;
}
