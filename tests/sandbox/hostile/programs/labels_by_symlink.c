// expect: exit
// tries: reads it through a link of its own
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
    if (n < 2 || symlink(a[1], "/tmp/link") != 0) return 2;
    return open("/tmp/link", O_RDONLY) >= 0 ? 42 : 1;
}
