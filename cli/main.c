/* talos: the program's entry. Finds the command and hands over to it. */
#include "base/hash.h"
#include "base/mem.h"
#include "capsules/capsule.h"
#include "cli/cli.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static const struct tl_cmd *const commands[] = {
    &tl_cmd_serve,    &tl_cmd_run,   &tl_cmd_why,    &tl_cmd_approve, &tl_cmd_capsule,
    &tl_cmd_template, &tl_cmd_token, &tl_cmd_backup, &tl_cmd_check,
};

static void help(FILE *out)
{
    fputs("talos: a canvas of nodes whose sealed capsules run on the server only\n\nUsage: talos COMMAND [OPTIONS]\n\n",
          out);
    for (size_t i = 0; i < TL_ARRAY_LEN(commands); i++)
        fprintf(out, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    fputs("\n  talos COMMAND --help   what a command takes\n  talos --version\n\n"
          "Exit status: 0 done; 1 a run failed or a check found faults; 2 wrong usage or a graph that is not\n"
          "valid; 3 not found; 4 in use; 5 the storage failed; 6 the server cannot be reached or refuses;\n"
          "70 a fault of talos; 130 cancelled.\n",
          out);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error to the write, not an end of the program */
    if (tl_cap_harden() < 0) {
        tl_cli_say("the process cannot be closed to core files and debuggers, and it would hold keys");
        return TL_EXIT_INTERNAL;
    }
    if (tl_hash_init() < 0) {
        tl_cli_say("the system gives no random numbers");
        return TL_EXIT_INTERNAL;
    }
    const char *name = argc > 1 ? argv[1] : "";
    if (!strcmp(name, "--version") || !strcmp(name, "version")) {
        puts("talos " TL_VERSION);
        return TL_EXIT_OK;
    }
    if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) {
        help(stdout);
        return TL_EXIT_OK;
    }
    for (size_t i = 0; i < TL_ARRAY_LEN(commands); i++)
        if (!strcmp(name, commands[i]->name))
            return commands[i]->run(commands[i], argc - 1, argv + 1);
    if (!*name) {
        help(stderr);
        return TL_EXIT_USAGE;
    }
    return tl_cli_usage(NULL, "there is no command '%s'", name);
}
