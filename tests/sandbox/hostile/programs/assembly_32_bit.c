// expect: refused signal
// tries: uses the numbers of 32-bit calls
// on: x86_64

int main(void) {
    int result = 20; /* getpid there, writev here */
    __asm__ volatile("int $0x80" : "+a"(result) : : "memory");
    return result > 0 ? 42 : 1;
}
