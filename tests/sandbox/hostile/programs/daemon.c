// expect: ok
// tries: leaves a process behind
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
    if (fork() != 0) return 0;
    setsid();
    if (fork() != 0) return 0;
    for (;;) sleep(1);
}
