// expect: memory
// tries: takes memory in many processes, each below the limit
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
    for (int k = 0; k < 12; k++)
        if (fork() == 0) {
            char *block = malloc(24 << 20);
            if (block != NULL) memset(block, 1, 24 << 20);
            for (;;) pause();
        }
    for (;;) pause();
}
