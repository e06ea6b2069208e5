// expect: memory
// tries: takes memory
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
    for (;;) {
        char *block = malloc(1 << 20);
        if (block != NULL) memset(block, 1, 1 << 20);
    }
}
