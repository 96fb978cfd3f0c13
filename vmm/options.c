/* SPDX-License-Identifier: MIT */
/* See vmm/options.h. Words that do not begin with "guest_" are somebody else's. */
#include <vmm/bytes.h>
#include <vmm/options.h>
#include <vmm/system.h>

#define PREFIX         "guest_"
#define MEMORY_DEFAULT 256u
#define MEMORY_LEAST   16u
#define MEMORY_MOST    (1u << 20)
#define WORD_SIZE      128u

static const char *const known[] = {"guest_cmdline", "guest_smp", "guest_mem",
                                    "guest_hyperv",  "guest_pci", "guest_pci_unsafe"};

static bool is_known(const char *word)
{
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        size_t length = text_length(known[i]);

        if (text_begins(word, known[i]) && word[length] == '=')
            return true;
    }
    return false;
}

static bool check_words(void)
{
    char word[WORD_SIZE];

    for (uint32_t i = 0; system_option_at(i, word, sizeof(word)); i++) {
        if (!text_begins(word, PREFIX) || is_known(word))
            continue;
        system_print("vmm: unknown option %s; there are guest_cmdline=TEXT, guest_smp=N, guest_mem=MIB, "
                     "guest_hyperv=on|nocalls|off, guest_pci=WORD,..., guest_pci_unsafe=on|off and guests=N\n",
                     word);
        return false;
    }
    return true;
}

/* A decimal number and nothing else, of at most nine digits. */
static bool parse(const char *text, uint32_t *value)
{
    *value = 0;
    for (uint32_t i = 0; text[i]; i++) {
        if (text[i] < '0' || text[i] > '9' || i == 9)
            return false;
        *value = *value * 10 + (uint32_t)(text[i] - '0');
    }
    return text[0] != '\0';
}

/* *value keeps its default when the option is not given. */
static bool read_number(const char *name, uint32_t least, uint32_t most, uint32_t *value)
{
    char text[32];

    if (!system_option(name, text, sizeof(text)))
        return true;
    if (parse(text, value) && *value >= least && *value <= most)
        return true;
    system_print("vmm: %s=%s: a number from %u to %u is wanted\n", name, text, least, most);
    return false;
}

/* One of these words, in the order of their values. */
static bool read_word(const char *name, const char *const words[], uint32_t count, const char *wanted, uint32_t *value)
{
    char text[32];

    if (!system_option(name, text, sizeof(text)))
        return true;
    for (uint32_t i = 0; i < count; i++) {
        if (text_equal(text, words[i])) {
            *value = i;
            return true;
        }
    }
    system_print("vmm: %s=%s: %s is wanted\n", name, text, wanted);
    return false;
}

static bool read_hyperv(enum options_hyperv *value)
{
    static const char *const words[] = {"on", "nocalls", "off"}; /* in the order of enum options_hyperv */
    uint32_t n = *value;
    bool is_good = read_word("guest_hyperv", words, 3, "on, nocalls or off", &n);

    *value = (enum options_hyperv)n;
    return is_good;
}

/* ---------------------------------------------------------------------------------- passed devices */

static bool add_device(struct options *options, const char *word, size_t length)
{
    if (options->pci_count == OPTIONS_PCI_MAX) {
        system_print("vmm: guest_pci has more than %u devices\n", OPTIONS_PCI_MAX);
        return false;
    }
    if (!length || length >= OPTIONS_PCI_SIZE) {
        system_print("vmm: guest_pci: words of 1 to %u characters are wanted, with commas between\n",
                     OPTIONS_PCI_SIZE - 1);
        return false;
    }
    __builtin_memcpy(options->pci[options->pci_count++], word, length);
    return true;
}

/* What stands between commas; the end of the text is one too. */
static bool add_devices(struct options *options, const char *text)
{
    for (size_t i = 0, begin = 0;; i++) {
        if (text[i] && text[i] != ',')
            continue;
        if (!add_device(options, text + begin, i - begin))
            return false;
        if (!text[i])
            return true;
        begin = i + 1;
    }
}

static bool read_devices(struct options *options)
{
    static const char *const words[] = {"off", "on"};
    char word[WORD_SIZE];
    uint32_t is_unsafe = 0;

    for (uint32_t i = 0; system_option_at(i, word, sizeof(word)); i++)
        if (text_begins(word, "guest_pci=") && !add_devices(options, word + text_length("guest_pci=")))
            return false;
    if (!read_word("guest_pci_unsafe", words, 2, "on or off", &is_unsafe))
        return false;
    options->is_pci_unsafe = is_unsafe;
    return true;
}

/* ------------------------------------------------------------------------------------------ files */

/* The file's content, without a newline at its end. */
static bool read_cmdline_file(const struct system_file *file, char *cmdline)
{
    size_t size = file->size;

    while (size && (file->data[size - 1] == '\n' || file->data[size - 1] == '\r'))
        size--;
    if (size >= OPTIONS_CMDLINE_SIZE) {
        system_print("vmm: the file \"cmdline\" has %zu characters; at most %u are possible\n", size,
                     OPTIONS_CMDLINE_SIZE - 1);
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        if (!file->data[i] || file->data[i] == '\n') {
            system_print("vmm: the file \"cmdline\" holds more than one line, or a character 0\n");
            return false;
        }
        cmdline[i] = (char)file->data[i];
    }
    cmdline[size] = '\0';
    return true;
}

static bool read_cmdline(char *cmdline)
{
    struct system_file file;

    if (system_file_find("cmdline", 0, &file))
        return read_cmdline_file(&file, cmdline);
    if (!system_option("guest_cmdline", cmdline, OPTIONS_CMDLINE_SIZE))
        cmdline[0] = '\0';
    if (text_length(cmdline) < OPTIONS_CMDLINE_SIZE - 1)
        return true;
    system_print("vmm: guest_cmdline is longer than %u characters\n", OPTIONS_CMDLINE_SIZE - 2);
    return false;
}

static bool find_files(struct loader_input *input)
{
    struct system_file more;

    if (!system_file_find("kernel", 0, &input->kernel)) {
        system_print("vmm: there is no file \"kernel\": give a Linux bzImage or a multiboot kernel as a module of that "
                     "name (make run GUEST_KERNEL=...)\n");
        return false;
    }
    while (input->module_count < LOADER_MODULES_MAX &&
           system_file_find("initrd", input->module_count, &input->modules[input->module_count]))
        input->module_count++;
    if (input->module_count < LOADER_MODULES_MAX || !system_file_find("initrd", LOADER_MODULES_MAX, &more))
        return true;
    system_print("vmm: more than %u files \"initrd\"\n", LOADER_MODULES_MAX);
    return false;
}

bool options_read(struct options *options)
{
    uint32_t mib = MEMORY_DEFAULT, cpus = system_cpu_count();

    __builtin_memset(options, 0, sizeof(*options));
    options->processors = cpus < OPTIONS_SMP_MAX ? cpus : OPTIONS_SMP_MAX;
    options->guests = 1;
    if (!check_words() || !read_number("guest_smp", 1, OPTIONS_SMP_MAX, &options->processors) ||
        !read_number("guest_mem", MEMORY_LEAST, MEMORY_MOST, &mib) ||
        !read_number("guests", 1, OPTIONS_GUESTS_MAX, &options->guests) || !read_hyperv(&options->hyperv) ||
        !read_devices(options) || !read_cmdline(options->cmdline) || !find_files(&options->input))
        return false;
    options->memory = mib * MEMORY_MIB;
    options->input.cmdline = options->cmdline;
    return true;
}
