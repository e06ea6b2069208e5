// expect: exit signal
// tries: writes one file without end
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
    static char block[1 << 20];
    int file = open("/box/large", O_WRONLY | O_CREAT, 0666);
    for (;;)
        if (write(file, block, sizeof block) < 0) return 1;
}
