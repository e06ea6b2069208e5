// expect: exit
// tries: kills whatever it can see
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
    kill(1, SIGKILL);
    kill(getppid(), SIGSTOP);
    for (int pid = 2; pid < 70000; pid++)
        if (pid != getpid()) kill(pid, SIGKILL);
    return 1;
}
