// expect: signal
// tries: crashes with much memory
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
    memset(malloc(8 << 20), 1, 8 << 20);
    *(volatile int *)0 = 1;
    return 0;
}
