/* The process that keeps a pod's namespaces open. As PID 1 of a shared PID namespace it also reaps orphans. */
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void reap(int number) {
  (void)number;
  while (waitpid(-1, NULL, WNOHANG) > 0) {
  }
}

static void stop(int number) {
  (void)number;
  _exit(0);
}

int main(void) {
  struct sigaction on_child = {.sa_handler = reap, .sa_flags = SA_NOCLDSTOP}, on_stop = {.sa_handler = stop};
  if (sigaction(SIGCHLD, &on_child, NULL) || sigaction(SIGINT, &on_stop, NULL) || sigaction(SIGTERM, &on_stop, NULL)) return EXIT_FAILURE;
  for (;;) pause();
}
