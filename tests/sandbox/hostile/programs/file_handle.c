// expect: refused
// tries: opens a file by its handle
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

int main(void) { return syscall(__NR_open_by_handle_at, -1, NULL, O_RDONLY) >= 0 ? 42 : 1; }
