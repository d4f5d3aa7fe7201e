#include "capsules/membrane.h"

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- warnings: never a byte of what was withheld, and names only where the spec declares them ---- */

static int warn(json_t **list, const char *key, const char *what, const char *reason)
{
    if (!*list)
        *list = json_array();
    return json_array_append_new(*list, json_pack("{s:s,s:s}", key, what, "reason", reason)) < 0 ? TL_ENOMEM : 0;
}

static int warn_output(json_t **list, const char *output, const char *reason)
{
    return warn(list, "output", output, reason);
}

/* ---- values ---- */

/* The sealed side names its files as it likes; outside they are called after the output. */
static json_t *copy_media(const json_t *j, const char *name)
{
    const char *kind = tl_json_str(j, "kind"), *sha = tl_json_str(j, "sha256"), *type = tl_json_str(j, "content_type");
    return kind && sha && type ? tl_media_json(kind, sha, type, (uint64_t)tl_json_int(j, "bytes", 0), name) : NULL;
}

/* A copy that shares nothing with the inside, of the declared type. *ret_why is set where the value is refused. */
static int copy_value(const struct tl_port *port, const struct tl_value *v, const struct tl_ngrams *texts,
                      struct tl_value *ret, const char **ret_why)
{
    bool media = tl_type_is_media(v->type);
    *ret_why = v->type == TL_T_NUMBER && !isfinite(v->number) ? "is not a finite number" : NULL;
    if (*ret_why)
        return 0;
    TL_AUTO_JSON json_t *shared = tl_value_json(v);
    if (!shared)
        return TL_ENOMEM;
    if (media ? !tl_type_accepts(port->type, v->type) : tl_type_is_media(port->type)) {
        *ret_why = "is not of the declared type";
        return 0;
    }
    TL_AUTO_JSON json_t *copy = media ? copy_media(shared, port->name) : json_deep_copy(shared);
    if (!copy)
        return TL_ENOMEM;
    const char *form = NULL;
    if (json_dumpb(copy, NULL, 0, JSON_COMPACT | JSON_ENCODE_ANY) > TL_OUTPUT_MAX)
        *ret_why = "is too large";
    else if (!media && tl_ngrams_found(texts, copy))
        *ret_why = "repeats text that is private to the capsule";
    else if (tl_value_from_json(media ? v->type : port->type, copy, ret, &form) < 0)
        *ret_why = "is not of the declared type";
    return 0;
}

static const struct tl_value *find_value(const struct tl_membrane_in *in, const char *name)
{
    for (size_t i = 0; i < in->nports; i++)
        if (strcmp(in->ports[i].name, name) == 0)
            return tl_value_none(&in->values[i]) ? NULL : &in->values[i];
    return NULL;
}

/* Handles of the private graph's end that talos knows itself. */
static const char evidence_handle[] = "evidence_refs", rule_handle[] = "synapse_rule_ref";

static bool declared(const struct tl_cap_spec *spec, const char *name)
{
    if (strcmp(name, evidence_handle) == 0 || strcmp(name, rule_handle) == 0)
        return true;
    for (uint32_t i = 0; i < spec->noutputs; i++)
        if (strcmp(spec->outputs[i].name, name) == 0)
            return true;
    return false;
}

static int pass_outputs(const struct tl_membrane_in *in, struct tl_membrane_out *out, json_t **warnings)
{
    const struct tl_cap_spec *spec = in->spec;
    int err = 0;
    for (uint32_t i = 0; i < spec->noutputs && !err; i++) {
        const struct tl_port *port = &spec->outputs[i];
        const struct tl_value *v = find_value(in, port->name);
        const char *why = NULL;
        if (!v)
            why = "was not produced";
        else if (!spec->admitted[i])
            why = "is not admitted by outputContracts";
        else
            err = copy_value(port, v, in->texts, &out->outputs[i], &why);
        if (!err && why)
            err = warn_output(warnings, port->name, why);
    }
    size_t undeclared = 0;
    for (size_t i = 0; i < in->nports; i++)
        undeclared += !tl_value_none(&in->values[i]) && !declared(spec, in->ports[i].name);
    if (undeclared && !err)
        err = warn(warnings, "output", "*", "what the capsule does not declare was withheld");
    return err;
}

/* ---- evidence ---- */

static size_t span(const char *s, const char *more)
{
    size_t n = 0;
    while ((s[n] >= 'a' && s[n] <= 'z') || (s[n] >= 'A' && s[n] <= 'Z') || (s[n] >= '0' && s[n] <= '9') ||
           (s[n] && strchr(more, s[n])))
        n++;
    return n;
}

static bool valid_id(const char *s, const char *more)
{
    size_t n = span(s, more);
    return n > 0 && n <= TL_EVIDENCE_ID_MAX && s[n] == '\0';
}

bool tl_evidence_ref_valid(const char *ref)
{
    static const char *const tables[] = {"raw_assets", "video_segments", "evidence_records",
                                         "patterns",   "pattern_trace",  "notebook_library"};
    if (strncmp(ref, "sheet:", 6) == 0) {
        size_t n = span(ref + 6, "_-");
        const char *row = ref + 6 + n + 1;
        return n > 0 && n <= TL_EVIDENCE_ID_MAX && ref[6 + n] == ':' && row[0] >= '1' && row[0] <= '9' &&
               strlen(row) <= 18 && strspn(row, "0123456789") == strlen(row);
    }
    for (size_t i = 0; i < TL_ARRAY_LEN(tables) && strncmp(ref, "db:", 3) == 0; i++) {
        size_t n = strlen(tables[i]);
        if (strncmp(ref + 3, tables[i], n) == 0 && ref[3 + n] == ':')
            return valid_id(ref + 3 + n + 1, "._-");
    }
    return false;
}

static const char *refuse_ref(const char *ref)
{
    if (!ref)
        return "is no text";
    if (tl_evidence_ref_valid(ref))
        return NULL;
    if (strncmp(ref, "sheet:", 6) == 0)
        return "is not of the form sheet:NAME:row";
    return strncmp(ref, "db:", 3) == 0 ? "is not of the form db:table:id with an allowed table"
                                       : "is neither a sheet: nor a db: reference";
}

static int pass_evidence(const struct tl_membrane_in *in, struct tl_membrane_out *out, json_t **warnings)
{
    const struct tl_value *v = find_value(in, evidence_handle);
    const json_t *refs = v && v->type != TL_T_NUMBER && v->type != TL_T_BOOLEAN ? v->json : NULL;
    int err = v && !json_is_array(refs) ? warn(warnings, "item", "evidence_refs", "is no list of references") : 0;
    for (size_t i = 0; i < json_array_size(refs) && !err; i++) {
        const char *ref = json_string_value(json_array_get(refs, i)), *why = refuse_ref(ref);
        bool twice = false;
        for (size_t k = 0; !why && k < json_array_size(out->evidence_refs); k++)
            twice = twice || strcmp(json_string_value(json_array_get(out->evidence_refs, k)), ref) == 0;
        char item[48];
        snprintf(item, sizeof(item), "evidence_refs[%zu]", i);
        if (json_array_size(out->evidence_refs) + json_array_size(*warnings) >= TL_EVIDENCE_MAX)
            return warn(warnings, "item", item, "and what follows: more references than a result may have");
        if (why)
            err = warn(warnings, "item", item, why);
        else if (!twice && json_array_append_new(out->evidence_refs, json_string(ref)) < 0)
            err = TL_ENOMEM;
    }
    return err;
}

/* synapse:SNAPSHOT:RULE, the versioned rule that tied patterns to the outputs. */
static bool valid_rule(const char *ref)
{
    size_t n = ref && strncmp(ref, "synapse:", 8) == 0 ? span(ref + 8, "._-") : 0;
    return n > 0 && n <= TL_EVIDENCE_ID_MAX && ref[8 + n] == ':' && valid_id(ref + 8 + n + 1, "._-");
}

static int pass_rule(const struct tl_membrane_in *in, struct tl_membrane_out *out, json_t **warnings)
{
    const struct tl_value *v = find_value(in, rule_handle);
    const char *ref = v && v->type == TL_T_STRING ? json_string_value(v->json) : NULL;
    if (!v)
        return 0;
    if (!valid_rule(ref))
        return warn(warnings, "item", rule_handle, "is not of the form synapse:snapshot:rule");
    return json_object_set_new(out->summary, rule_handle, json_string(ref)) < 0 ? TL_ENOMEM : 0;
}

/* ---- the whole ---- */

static int fill_summary(const struct tl_membrane_in *in, struct tl_membrane_out *out)
{
    int bad = 0;
    for (uint32_t i = 0; i < in->spec->noutputs && in->spec->evidence == TL_CAP_SUMMARY_ONLY; i++)
        if (!tl_value_none(&out->outputs[i]))
            bad |= json_object_set_new(out->summary, in->spec->outputs[i].name, tl_value_json(&out->outputs[i]));
    if (in->pattern_version)
        bad |= json_object_set_new(out->summary, "pattern_version", json_string(in->pattern_version));
    return bad ? TL_ENOMEM : 0;
}

int tl_membrane_pass(const struct tl_membrane_in *in, struct tl_membrane_out *ret)
{
    json_t *output_warnings = NULL, *evidence_warnings = NULL;
    *ret = (struct tl_membrane_out){.outputs = tl_calloc(in->spec->noutputs, sizeof(*ret->outputs)),
                                    .summary = json_object(),
                                    .evidence_refs = json_array()};
    int err = ret->outputs && ret->summary && ret->evidence_refs ? 0 : TL_ENOMEM;
    if (!err)
        err = pass_outputs(in, ret, &output_warnings);
    if (!err)
        err = pass_evidence(in, ret, &evidence_warnings);
    if (!err)
        err = fill_summary(in, ret);
    if (!err)
        err = pass_rule(in, ret, &evidence_warnings);
    if (output_warnings && json_object_set_new(ret->summary, "output_warnings", output_warnings) < 0)
        err = TL_ENOMEM;
    if (evidence_warnings && json_object_set_new(ret->summary, "evidence_warnings", evidence_warnings) < 0)
        err = TL_ENOMEM;
    if (err)
        tl_membrane_clear(ret, in->spec);
    return err;
}

void tl_membrane_clear(struct tl_membrane_out *out, const struct tl_cap_spec *spec)
{
    for (uint32_t i = 0; out->outputs && i < spec->noutputs; i++)
        tl_value_clear(&out->outputs[i]);
    free(out->outputs);
    json_decref(out->summary);
    json_decref(out->evidence_refs);
    memset(out, 0, sizeof(*out));
}

int tl_membrane_error(int inside, const char **ret_sentence)
{
    switch (inside) {
    case TL_ETIMEOUT:
        *ret_sentence = "the capsule did not finish in the time allowed";
        return inside;
    case TL_ERATE:
        *ret_sentence = "a service that the capsule needs allows no more requests now; try again later";
        return inside;
    case TL_EWORKER:
        *ret_sentence = "a worker process of the capsule ended unexpectedly";
        return inside;
    case TL_ECANCELLED:
        *ret_sentence = "the run was cancelled";
        return inside;
    default:
        *ret_sentence = tl_err_text(TL_ECAPSULE_RUN);
        return TL_ECAPSULE_RUN;
    }
}

/* The number of private steps must not be read off: percent in large steps, told at most every so often. */
bool tl_membrane_step(struct tl_membrane_progress *p, uint32_t done, uint32_t total, int64_t now_us,
                      double *ret_fraction, const char **ret_message)
{
    if (p->last_us == 0)
        p->last_us = now_us;
    int percent =
        total ? (int)((uint64_t)done * 100 / total) / TL_MEMBRANE_PROGRESS_PERCENT * TL_MEMBRANE_PROGRESS_PERCENT : 0;
    if (percent <= p->percent || percent >= 100 || now_us - p->last_us < (int64_t)TL_MEMBRANE_PROGRESS_MS * 1000)
        return false;
    p->last_us = now_us;
    p->percent = percent;
    *ret_fraction = percent / 100.0;
    *ret_message = "Working";
    return true;
}
