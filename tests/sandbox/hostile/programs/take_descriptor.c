// expect: refused
// tries: takes a descriptor of another process
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

int main(void) { return syscall(__NR_pidfd_getfd, syscall(__NR_pidfd_open, 1, 0), 0, 0) >= 0 ? 42 : 1; }
