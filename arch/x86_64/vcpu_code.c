/* SPDX-License-Identifier: MIT */
/* The pages of code that are known: see vcpu_code.h. */
#include "vcpu_code.h"

void vcpu_code_forget(struct vcpu *v)
{
    for (unsigned i = 0; i < VCPU_CODE_PAGES; i++)
        v->code.page[i].generation = VCPU_CODE_NONE;
    v->code.last = v->code.page;
}

void vcpu_code_learn(struct vcpu *v, struct vcpu_code_page *c, const struct vcpu_code *code)
{
    c->page = code->page;
    c->groups = code->groups;
    c->size = code->size;
    for (unsigned i = 0; i < VCPU_CODE_ENTRIES; i++) { /* what there are fewer of is compared with itself */
        c->entry[i].value = code->entry[i].value;
        c->entry[i].at = i < code->count ? code->entry[i].at : &c->entry[i].value;
    }
    c->generation = code->generation;
    v->code.last = c;
}
