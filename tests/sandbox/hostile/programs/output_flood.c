// expect: output
// tries: writes without end
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
    static char block[1 << 16];
    while (write(1, block, sizeof block) > 0) continue;
    return 1;
}
