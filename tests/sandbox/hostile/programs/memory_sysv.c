// expect: refused
// tries: takes memory that outlives it
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) { return shmget(IPC_PRIVATE, 1 << 28, IPC_CREAT | 0600) >= 0 ? 42 : 1; }
