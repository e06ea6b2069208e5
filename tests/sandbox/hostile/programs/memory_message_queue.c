// expect: refused
// tries: keeps memory in a queue
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

int main(void) { return syscall(__NR_msgget, 0, 01000 | 0600) >= 0 ? 42 : 1; }
