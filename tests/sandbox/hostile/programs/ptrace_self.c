// expect: refused
// tries: lets itself be traced
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) { return ptrace(PTRACE_TRACEME, 0, NULL, NULL) >= 0 ? 42 : 1; }
