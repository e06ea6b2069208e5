// expect: exit
// tries: opens everything that it can
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
    int n = 0;
    while (open("/dev/null", O_RDONLY) >= 0) n++;
    return n > 200 ? 42 : 1;
}
