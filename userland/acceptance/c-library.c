/* A C program against whatever C library it is linked with: stdio, malloc, time, fork, signals, threads.
 * It checks itself and prints KTAP. Build: cc -static -O2 -pthread c-library.c */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int count, failures;

static void check(const char *what, int holds) {
    count++;
    if (!holds) failures++;
    printf("%sok %d %s\n", holds ? "" : "not ", count, what);
    fflush(stdout);
}

static long long now(clockid_t clock) {
    struct timespec time = {0, 0};
    clock_gettime(clock, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void streams(void) {
    char path[64], line[64];
    snprintf(path, sizeof path, "/tmp/c-library-%d", (int)getpid());
    FILE *file = fopen(path, "w+");
    check("fopen makes a file", file != NULL);
    if (!file) return;
    int written = 0;
    for (int number = 0; number < 1000; number++) written += fprintf(file, "%d %x %.3f %s\n", number, number, number / 8.0, "text");
    check("ftell after fprintf", ftell(file) == written);
    rewind(file);
    int number, hexadecimal, good = 1;
    double fraction;
    for (int expected = 0; expected < 1000; expected++)
        good &= fscanf(file, "%d %x %lf %63s", &number, (unsigned *)&hexadecimal, &fraction, line) == 4
            && number == expected && hexadecimal == expected && fraction == expected / 8.0;
    check("fscanf reads what fprintf wrote", good);
    check("fseek and fgets", fseek(file, -9, SEEK_END) == 0 && fgets(line, sizeof line, file) && strstr(line, "text"));
    fclose(file);
    struct stat status;
    check("stat of the file", stat(path, &status) == 0 && status.st_size == written);
    unlink(path);
    check("fopen of nothing is ENOENT", fopen(path, "r") == NULL && errno == ENOENT);
    FILE *child = popen("echo from a child; exit 3", "r");
    int read_line = child && fgets(line, sizeof line, child) && strcmp(line, "from a child\n") == 0;
    int ended = child ? pclose(child) : -1;
    check("popen reads, pclose tells the status", read_line && WIFEXITED(ended) && WEXITSTATUS(ended) == 3);
}

static void memory(void) {
    void *blocks[500];
    int good = 1;
    for (int round = 0; round < 4; round++) {
        for (int index = 0; index < 500; index++) {
            size_t size = (size_t)(index * 37 % 4000 + 1);
            blocks[index] = malloc(size);
            good &= blocks[index] != NULL;
            if (blocks[index]) memset(blocks[index], index, size);
        }
        for (int index = 499; index >= 0; index--) {
            good &= ((unsigned char *)blocks[index])[0] == (unsigned char)index;
            free(blocks[index]);
        }
    }
    check("malloc and free of many sizes", good);
    unsigned char *large = calloc(1, 8 << 20);
    good = large != NULL;
    for (size_t index = 0; good && index < 8 << 20; index += 4096) good &= large[index] == 0;
    large = realloc(large, 12 << 20);
    check("calloc of 8 MiB is zero, realloc to 12 MiB", good && large != NULL);
    free(large);
    check("malloc of too much is NULL and ENOMEM", malloc((size_t)1 << 62) == NULL && errno == ENOMEM);
    void *aligned = NULL;
    check("posix_memalign", posix_memalign(&aligned, 4096, 100) == 0 && (size_t)aligned % 4096 == 0);
    free(aligned);
}

static void times(void) {
    long long last = 0;
    int good = 1;
    for (int index = 0; index < 20000; index++) {
        long long reading = now(CLOCK_MONOTONIC);
        good &= reading >= last;
        last = reading;
    }
    check("CLOCK_MONOTONIC never steps back", good);
    struct timeval value;
    gettimeofday(&value, NULL);
    check("time, gettimeofday and CLOCK_REALTIME agree", llabs((long long)time(NULL) - value.tv_sec) <= 1
        && llabs(now(CLOCK_REALTIME) / 1000000000 - value.tv_sec) <= 1);
    struct timespec pause = {0, 20000000};
    long long before = now(CLOCK_MONOTONIC);
    nanosleep(&pause, NULL);
    long long slept = now(CLOCK_MONOTONIC) - before;
    check("nanosleep of 20 ms", slept >= 20000000 && slept < 5000000000LL);
    time_t billion = 1000000000;
    struct tm parts;
    char text[64];
    gmtime_r(&billion, &parts);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    check("gmtime and strftime", strcmp(text, "2001-09-09T01:46:40Z") == 0);
    clock_t used = clock();
    while (clock() == used) {}
    check("clock goes on", clock() > used);
}

static void processes(void) {
    int ends[2];
    char text[32] = "";
    check("pipe", pipe(ends) == 0);
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        (void)!write(ends[1], "hello", 5);
        _exit(41);
    }
    close(ends[1]);
    int status = 0;
    int length = (int)read(ends[0], text, sizeof text);
    check("a child's bytes and status", length == 5 && memcmp(text, "hello", 5) == 0
        && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 41);
    close(ends[0]);
    child = fork();
    if (child == 0) {
        execl("/proc/self/exe", "c-library", "--exit", "17", (char *)NULL);
        _exit(127);
    }
    check("exec of this program", waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 17);
    check("system", WEXITSTATUS(system("exit 5")) == 5);
    int *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    child = vfork();
    if (child == 0) {
        *shared = 99;
        _exit(0);
    }
    waitpid(child, &status, 0);
    check("vfork and shared memory", *shared == 99);
}

static volatile sig_atomic_t seen;
static sigjmp_buf escape;

static void handler(int signal) { seen = signal; }

static void jump(int signal) {
    (void)signal;
    siglongjmp(escape, 1);
}

static void signals(void) {
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    check("raise runs the handler", seen == SIGUSR1);
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, &old);
    seen = 0;
    raise(SIGUSR1);
    int blocked = seen == 0;
    sigsuspend(&old);
    sigprocmask(SIG_SETMASK, &old, NULL);
    check("a blocked signal waits for sigsuspend", blocked && seen == SIGUSR1);
    signal(SIGSEGV, jump);
    volatile int faulted = 0;
    volatile int *volatile nowhere = (volatile int *)16;
    if (sigsetjmp(escape, 1) == 0) *nowhere = 1;
    else faulted = 1;
    check("siglongjmp out of a fault", faulted);
    signal(SIGSEGV, SIG_DFL);
    pid_t child = fork();
    if (child == 0) abort();
    int status;
    waitpid(child, &status, 0);
    check("abort is SIGABRT", WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static atomic_long atomic_total;
static long total;
static int arrived;
static _Thread_local int own = 5;
static pthread_key_t key;
static atomic_int destroyed;

static void destroy(void *value) { destroyed += *(int *)value; free(value); }

static void *work(void *argument) {
    int *value = malloc(sizeof *value);
    *value = 1;
    pthread_setspecific(key, value);
    own += (int)(long)argument;
    for (int index = 0; index < 5000; index++) {
        pthread_mutex_lock(&mutex);
        total++;
        pthread_mutex_unlock(&mutex);
        atomic_total++;
    }
    pthread_mutex_lock(&mutex);
    if (++arrived == 4) pthread_cond_broadcast(&condition);
    while (arrived < 4) pthread_cond_wait(&condition, &mutex);
    pthread_mutex_unlock(&mutex);
    return (void *)(long)own;
}

static void threads(void) {
    pthread_t ids[4];
    int good = pthread_key_create(&key, destroy) == 0;
    for (long index = 0; index < 4; index++) good &= pthread_create(&ids[index], NULL, work, (void *)index) == 0;
    for (long index = 0; index < 4; index++) {
        void *result = NULL;
        good &= pthread_join(ids[index], &result) == 0 && (long)result == 5 + index;
    }
    check("four threads, each with its own variable", good && own == 5);
    check("a mutex and an atomic count alike", total == 20000 && atomic_total == 20000);
    check("thread-specific data is destroyed", destroyed == 4);
    struct timespec limit;
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_nsec += 20000000;
    if (limit.tv_nsec >= 1000000000) limit.tv_nsec -= 1000000000, limit.tv_sec++;
    pthread_mutex_lock(&mutex);
    int answer = pthread_cond_timedwait(&condition, &mutex, &limit);
    pthread_mutex_unlock(&mutex);
    check("pthread_cond_timedwait times out", answer == ETIMEDOUT);
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "--exit") == 0) return atoi(argv[2]);
    printf("KTAP version 1\n1..29\n");
    fflush(stdout);
    streams();
    memory();
    times();
    processes();
    signals();
    threads();
    return failures > 0;
}
