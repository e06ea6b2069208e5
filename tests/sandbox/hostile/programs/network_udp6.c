// expect: refused
// tries: opens a UDP socket over IPv6
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) { return socket(AF_INET6, SOCK_DGRAM, 0) >= 0 ? 42 : 1; }
