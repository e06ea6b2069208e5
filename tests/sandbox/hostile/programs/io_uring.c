// expect: refused
// tries: makes system calls that a filter does not see
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

int main(void) { return syscall(__NR_io_uring_setup, 8, NULL) >= 0 ? 42 : 1; }
