/* SPDX-License-Identifier: MIT */
/* Which device of the machine a word means: its place, or what it is for. */
#include <vmm/bytes.h>
#include <vmm/vpci.h>

/* Words for base class and subclass; the first device of this kind that is not taken is meant. */
static const struct kind {
    const char *word;
    uint8_t base_class, sub_class;
} kinds[] = {
    {"nvme", 0x01, 0x08},
    {"net", 0x02, 0x00},
};

static const struct kind *kind_of(const char *word)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (text_equal(word, kinds[i].word))
            return &kinds[i];
    return NULL;
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* So many hexadecimal digits, and then this character, which may be the end of the text; NULL: no. */
static const char *number(const char *text, uint32_t digits, char end, uint32_t *value)
{
    *value = 0;
    for (; digits; digits--, text++) {
        int d = digit(*text);

        if (d < 0)
            return NULL;
        *value = *value << 4 | (uint32_t)d;
    }
    return *text == end ? text + 1 : NULL;
}

static bool parse(const char *word, WHVX_PCI_DEVICE *out)
{
    uint32_t segment = 0, bus, device, function;
    const char *rest = number(word, 4, ':', &segment);

    rest = number(rest ? rest : word, 2, ':', &bus);
    rest = rest ? number(rest, 2, '.', &device) : NULL;
    rest = rest ? number(rest, 1, '\0', &function) : NULL;
    if (!rest || device > 31 || function > 7)
        return false;
    out->Segment = (UINT16)(rest - word > 8 ? segment : 0);
    out->Bus = (UINT8)bus;
    out->Device = (UINT8)device;
    out->Function = (UINT8)function;
    return true;
}

static bool is_place(const WHVX_PCI_DEVICE *a, const WHVX_PCI_DEVICE *b)
{
    return a->Segment == b->Segment && a->Bus == b->Bus && a->Device == b->Device && a->Function == b->Function;
}

static bool is_taken(const WHVX_PCI_DEVICE *device, const WHVX_PCI_DEVICE *taken, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (is_place(device, &taken[i]))
            return true;
    return false;
}

/* The first that the word means, by kind or else by place. *hr says what ended the search. */
static bool search(const struct kind *kind, const WHVX_PCI_DEVICE *place, const WHVX_PCI_DEVICE *taken, uint32_t count,
                   WHVX_PCI_DEVICE *out, HRESULT *hr)
{
    for (UINT32 i = 0; SUCCEEDED(*hr = WHvxGetPciDevice(i, out)); i++) {
        bool is_it = kind ? out->Ids.BaseClass == kind->base_class && out->Ids.SubClass == kind->sub_class
                          : is_place(out, place);

        if (is_it && !is_taken(out, taken, count))
            return true;
    }
    return false;
}

bool vpci_find(const char *word, const WHVX_PCI_DEVICE *taken, uint32_t taken_count, WHVX_PCI_DEVICE *out)
{
    const struct kind *kind = kind_of(word);
    WHVX_PCI_DEVICE place = {0};
    HRESULT hr;

    if (!kind && !parse(word, &place)) {
        system_print("vmm: guest_pci=%s: nvme, net, or an address like 0000:01:00.0 is wanted\n", word);
        return false;
    }
    if (search(kind, &place, taken, taken_count, out, &hr))
        return true;
    if (hr != HRESULT_FROM_WIN32(ERROR_NOT_FOUND))
        system_print("vmm: guest_pci=%s: WHvxGetPciDevice failed: 0x%08x\n", word, (uint32_t)hr);
    else
        system_print("vmm: guest_pci=%s: this machine has no such device%s\n", word,
                     taken_count ? " that is not taken already" : "");
    return false;
}
