// Makes processes, threads and programs until the machine refuses one more, which is to be an error like any other; and
// makes one more once others are gone.
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST = 1000, SPARE = 4 };

static pthread_mutex_t end = PTHREAD_MUTEX_INITIALIZER;

static void *wait_for_end(void *unused) {
    pthread_mutex_lock(&end);
    pthread_mutex_unlock(&end);
    return unused;
}

static void check(const char *what, int made, int error) {
    if (made == 0 || made == MOST || error != EAGAIN) {
        printf("%s: %d made, then error %d\n", what, made, error);
        exit(1);
    }
    printf("%s are refused\n", what);
}

static int processes(pid_t *children) {
    int made = 0;
    for (; made < MOST; made++) {
        pid_t child = fork();
        if (child < 0)
            break;
        if (child == 0)
            for (;;)
                pause();
        children[made] = child;
    }
    return made;
}

int main(void) {
    static pid_t children[MOST];
    static pthread_t threads[MOST];
    setvbuf(stdout, NULL, _IONBF, 0);

    int made = processes(children);
    const int first = made;
    check("processes", made, errno);
    pid_t child;
    char *arguments[] = {"/bin/true", NULL};
    int error = posix_spawn(&child, arguments[0], NULL, NULL, arguments, NULL);
    check("programs", made, error);
    for (int i = 0; i < made; i++) {
        kill(children[i], SIGKILL);
        waitpid(children[i], NULL, 0);
    }

    int status = -1;
    child = fork();
    if (child == 0)
        execv(arguments[0], arguments);
    waitpid(child, &status, 0);
    printf("afterwards a program ends with %d\n", status);

    pthread_mutex_lock(&end);
    for (made = 0, error = 0; made < MOST && error == 0; made += error == 0)
        error = pthread_create(&threads[made], NULL, wait_for_end, NULL);
    check("threads", made, error);
    pthread_mutex_unlock(&end);
    for (int i = 0; i < made; i++)
        pthread_join(threads[i], NULL);

    // The machine may keep some of what it made threads of, for the next ones.
    made = processes(children);
    printf("after the threads %s processes are made\n", made >= first - SPARE ? "as many" : "fewer");
    for (int i = 0; i < made; i++)
        kill(children[i], SIGKILL);
    return 0;
}
