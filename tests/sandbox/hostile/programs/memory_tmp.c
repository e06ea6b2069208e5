// expect: exit
// tries: hides memory in files of /tmp
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
    long long whole = 0;
    for (int k = 0; k < 4000; k++) {
        char path[64];
        snprintf(path, sizeof path, "%s/%d", k % 2 ? "/tmp" : "/box", k);
        int file = open(path, O_WRONLY | O_CREAT, 0666);
        ssize_t n = file >= 0 ? write(file, block, sizeof block) : -1;
        if (n > 0) whole += n;
        close(file);
    }
    return whole > (40 << 20) ? 42 : 1;
}
