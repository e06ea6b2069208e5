// expect: exit
// tries: makes and opens devices
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
    static const char *const places[] = {"/dev/mem",  "/dev/kmsg", "/dev/kvm",     "/dev/vda",      "/dev/sda",
                                         "/dev/fuse", "/dev/tty",  "/dev/net/tun", "/dev/nvidiactl"};
    for (size_t k = 0; k < sizeof places / sizeof *places; k++)
        if (open(places[k], O_RDWR) >= 0) return 42;
    return mknod("/tmp/disk", S_IFBLK | 0600, 8 << 8) == 0 && open("/tmp/disk", O_RDONLY) >= 0 ? 42 : 1;
}
