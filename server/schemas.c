/* Shapes of bodies, as JSON Schema with ' for ". */
#include "server/openapi.h"

#include <stddef.h>

#define ID "{'type':'string','format':'uuid'}"
#define TIME "{'type':'string','format':'date-time'}"
#define STR "{'type':'string'}"
#define INT "{'type':'integer','minimum':0}"
#define NUM "{'type':'number'}"
#define OBJ "{'type':'object'}"
#define REF(name) "{'$ref':'#/components/schemas/" name "'}"
#define LIST(name)                                                                                                     \
    "{'type':'object','required':['items','next_cursor'],'additionalProperties':false,'properties':{"                 \
    "'items':{'type':'array','items':" REF(name) "},'next_cursor':{'type':['string','null']}}}"
#define WORDS "{'oneOf':[{'type':'string'},{'type':'object','additionalProperties':{'type':'string'}}]}" /* text, or text by language */
#define STATUS "{'enum':['queued','running','done','failed','cancelled']}"
#define CANVAS_HEAD "'id':" ID ",'name':" STR ",'revision':{'type':'integer','minimum':1},'created_at':" TIME ",'updated_at':" TIME ",'node_count':" INT
#define CANVAS_REQUIRED "'id','name','revision','created_at','updated_at','node_count'"
#define ABOVE0 "{'type':'number','exclusiveMinimum':0}"
#define RUN_OPTIONS                                                                                                    \
    "'targets':{'type':'array','items':" STR "},'async_mode':{'type':'boolean','default':true},"                      \
    "'priority':{'enum':['low','usual','high'],'default':'usual'},'dry_run':{'type':'boolean','default':false},"       \
    "'budget':{'type':'object','additionalProperties':false,'properties':{'cost_usd':" ABOVE0                         \
    ",'tokens':{'type':'integer','minimum':1},'seconds':" ABOVE0 "}}"
#define USAGE                                                                                                          \
    "'token_usage':{'type':'object','required':['input','output','total'],'properties':{'input':" INT ",'output':" INT \
    ",'total':" INT "}},'latency_ms':" INT ",'cost_usd_est':" NUM

const struct tl_schema tl_schemas[] = {
    {"Any", "{}"},
    {"Text", STR},
    {"Bytes", "{'type':'string','contentMediaType':'application/octet-stream'}"},
    {"FileForm", "{'type':'object','required':['file'],'properties':{'file':{'type':'string','contentMediaType':'application/octet-stream'}}}"},
    {"Status", "{'type':'object','required':['status'],'properties':{'status':" STR "}}"},
    {"Me", "{'type':'object','required':['sub','org','role'],'properties':{'sub':" STR ",'org':" STR
           ",'role':{'enum':['viewer','member','author','admin']},'expires':" INT "}}"},
    {"Problem", "{'type':'object','required':['message'],'additionalProperties':false,'properties':{'node':" STR ",'port':" STR ",'path':" STR
                ",'message':" STR "}}"},
    {"Error", "{'type':'object','required':['error','meta'],'additionalProperties':false,'properties':{"
              "'error':{'type':'object','required':['code','message','details'],'additionalProperties':false,'properties':{"
              "'code':" STR ",'message':" STR ",'details':{'type':'object','properties':{'problems':{'type':'array','items':" REF("Problem")
              "},'omitted':" INT "}}}},"
              "'meta':{'type':'object','required':['request_id'],'additionalProperties':false,'properties':{'request_id':"
              "{'type':'string','pattern':'^req_[0-9a-f]{32}$'}}}}}"},
    {"Graph", "{'type':'object','required':['nodes','edges'],'properties':{'nodes':{'type':'array','items':{'type':'object','required':['id','type'],"
              "'properties':{'id':" STR ",'type':" STR ",'position':{'type':'object','properties':{'x':" NUM ",'y':" NUM "}},'data':" OBJ "}}},"
              "'edges':{'type':'array','items':{'type':'object','required':['source','target'],'properties':{'id':" STR ",'source':" STR
              ",'sourceHandle':" STR ",'target':" STR ",'targetHandle':" STR "}}}}}"},
    {"GraphIn", "{'type':'object','required':['graph'],'additionalProperties':false,'properties':{'graph':" REF("Graph") "}}"},
    {"CanvasIn", "{'type':'object','additionalProperties':false,'properties':{'name':{'type':'string','maxLength':200},'graph':" REF("Graph") "}}"},
    {"CanvasPut", "{'type':'object','required':['graph'],'additionalProperties':false,'properties':{'name':{'type':'string','maxLength':200},'graph':"
                  REF("Graph") "}}"},
    {"CanvasHead", "{'type':'object','required':[" CANVAS_REQUIRED "],'additionalProperties':false,'properties':{" CANVAS_HEAD "}}"},
    {"Canvas", "{'type':'object','required':[" CANVAS_REQUIRED ",'graph'],'additionalProperties':false,'properties':{" CANVAS_HEAD ",'graph':"
               REF("Graph") "}}"},
    {"CanvasList", LIST("CanvasHead")},
    {"Validation", "{'type':'object','required':['ok','problems'],'additionalProperties':false,'properties':{'ok':{'type':'boolean'},"
                   "'problems':{'type':'array','items':" REF("Problem") "},'omitted':" INT "}}"},
    {"CanvasRun", "{'type':'object','additionalProperties':false,'properties':{" RUN_OPTIONS "}}"},
    {"GraphRun", "{'type':'object','required':['graph'],'additionalProperties':false,'properties':{'graph':" REF("Graph") "," RUN_OPTIONS "}}"},
    {"Instantiate", "{'type':'object','additionalProperties':false,'properties':{'name':{'type':'string','maxLength':200},"
                    "'inputs':{'type':'object','description':'node.param: value'}}}"},
    {"Cancel", "{'type':'object','additionalProperties':false,'properties':{'reason':{'type':'string','maxLength':1000}}}"},
    {"Answer", "{'type':'object','required':['node','decision','hash'],'additionalProperties':false,'properties':{'node':" STR
               ",'decision':{'enum':['approve','reject','retry','fail','done']},'hash':" STR ",'comment':{'type':'string','maxLength':4000},'fields':" OBJ
               ",'outputs':" OBJ "}}"},
    {"Answered", "{'type':'object','required':['run_id','node','decision'],'additionalProperties':false,'properties':{'run_id':" ID ",'node':" STR
                 ",'decision':" STR "}}"},
    {"RunStarted", "{'type':'object','required':['run_id','status'],'additionalProperties':false,'properties':{'run_id':" ID ",'status':" STATUS "}}"},
    {"RunEnd", "{'type':'object','required':['run_id','status','result'],'additionalProperties':false,'properties':{'run_id':" ID ",'status':" STATUS
               ",'result':" OBJ "}}"},
    {"DryRun", "{'type':'object','required':['ok','problems'],'additionalProperties':false,'properties':{'ok':{'type':'boolean'},"
               "'problems':{'type':'array','items':" REF("Problem") "},'omitted':" INT ",'order':{'type':'array','items':" STR
               "},'cached':{'type':'array','items':" STR "},'estimate':{'type':'object','additionalProperties':false,"
               "'required':['seconds','tokens','cost_usd','nodes_cached','nodes_to_run','unknown_ops'],'properties':{'seconds':" NUM ",'tokens':" NUM
               ",'cost_usd':" NUM ",'nodes_cached':" INT ",'nodes_to_run':" INT ",'unknown_ops':{'type':'array','items':" STR
               "}}},'budget_exceeded':{'type':'boolean'},'message':" STR "},'if':{'properties':{'ok':{'const':true}}},"
               "'then':{'required':['order','cached','estimate','budget_exceeded']}}"},
    {"RunAnswer", "{'oneOf':[" REF("RunEnd") "," REF("DryRun") "]}"},
    {"Why", "{'type':'object','required':['node','ran','status','reason','changes','sentence'],'additionalProperties':false,'properties':{'node':" STR
            ",'ran':{'type':'boolean'},'status':{'enum':['queued','running','waiting','done','failed','cancelled','skipped']},"
            "'reason':{'enum':['first','changed','impure','not_kept','failed_before','cached','resumed','skipped','branch','cancelled','stopped','pending',"
            "'unknown']},'compared_with':" ID ",'changes':{'type':'array','items':{'type':'object','required':['kind'],'additionalProperties':false,"
            "'properties':{'kind':{'enum':['op','revision','identity','version','parameter','literal','edge','input','upstream','body']},'name':" STR
            ",'from':{},'to':{}}}},'sentence':" STR "}}"},
    {"CapsuleCall", "{'type':'object','required':['capsule_id','capsule_version'],'additionalProperties':false,'properties':{"
                    "'canvas_id':" STR ",'node_id':" STR ",'capsule_id':" STR ",'capsule_version':" STR ",'pattern_version':" STR
                    ",'inputs':" OBJ ",'params':" OBJ ",'upstream_context':" OBJ ",'async_mode':{'type':'boolean'}}}"},
    {"RunError", "{'type':'object','required':['code','message'],'properties':{'code':" STR ",'message':" STR ",'node':" STR "}}"},
    {"CapsuleRun", "{'type':'object','required':['run_id','status'],'properties':{'run_id':" ID ",'status':" STATUS ",'version':" STR
                   ",'capsule_id':" STR ",'canvas_id':" STR ",'node_id':" STR ",'progress':" NUM ",'created_at':" TIME ",'updated_at':" TIME
                   ",'summary':" OBJ ",'evidence_refs':{'type':'array','items':{'type':'string','pattern':'^(sheet|db):'}}," USAGE
                   ",'error':" REF("RunError") ",'reason':" STR "}}"},
    {"Run", "{'type':'object','required':['id','org','sub','kind','status','progress','created_at','updated_at','last_seq','graph_hash','nodes'],"
            "'properties':{'id':" ID ",'org':" STR ",'sub':" STR ",'kind':" STR ",'status':" STATUS ",'progress':" NUM ",'created_at':" TIME
            ",'started_at':" TIME ",'updated_at':" TIME ",'ended_at':" TIME ",'last_seq':" INT ",'graph_hash':" STR ",'node_count':" INT
            ",'nodes':{'type':'object','additionalProperties':{'type':'object','required':['status'],'properties':{'status':" STR ",'progress':" NUM
            ",'cached':{'type':'boolean'}}}},'waiting_for':{'type':'array','items':{'type':'object','required':['node','kind','shown','hash','opened_at','decisions'],"
            "'properties':{'node':" STR ",'kind':{'enum':['gate','outcome_unknown']},'shown':" OBJ ",'hash':" STR ",'opened_at':" TIME ",'expires_at':" TIME
            ",'decisions':{'type':'array','items':" STR "},'form':{'type':'array','items':" OBJ "}}}},'result':" OBJ "}}"},
    {"RunHead", "{'type':'object','required':['id','kind','status','progress','created_at','updated_at','last_seq'],'properties':{'id':" ID
                ",'kind':" STR ",'status':" STATUS ",'progress':" NUM ",'created_at':" TIME ",'updated_at':" TIME ",'last_seq':" INT "}}"},
    {"RunList", LIST("RunHead")},
    {"RunEvent", "{'type':'object','required':['event_id','run_id','type','seq','ts','payload'],'additionalProperties':false,'properties':{"
                 "'event_id':" STR ",'run_id':" ID ",'type':{'enum':['run.queued','run.started','run.progress','run.partial','run.completed',"
                 "'run.failed','run.cancelled','run.reset']},'seq':{'type':'integer','minimum':1},'ts':" TIME ",'payload':" OBJ "}}"},
    {"CapsuleSpec", "{'type':'object','required':['id','version','displayName','inputs','outputs','exposedParams','policy'],'not':{'required':['adapter']},"
                    "'properties':{'id':" STR ",'version':" STR ",'displayName':" STR ",'inputs':" OBJ ",'outputs':" OBJ ",'exposedParams':" OBJ
                    ",'policy':" OBJ "}}"},
    {"CapsuleList", LIST("CapsuleSpec")},
    {"NodeType", "{'type':'object','required':['type','title','ports','params','data_keys'],'properties':{'type':" STR ",'title':" STR
                 ",'data_keys':{'type':'array','items':" STR ",'description':'What data of such a node may have besides params, inputs, label and ui'}"
                 ",'ports':{'type':'object','required':['in','out']}}}"},
    {"NodeTypeList", LIST("NodeType")},
    {"TemplateHead", "{'type':'object','required':['id','title','description'],'properties':{'id':" STR ",'title':" WORDS ",'description':" WORDS
                     ",'inputs':{'type':'array','items':" OBJ "}}}"},
    {"TemplateList", LIST("TemplateHead")},
    {"Template", "{'type':'object','required':['id','title','description','graph'],'properties':{'id':" STR ",'title':" WORDS ",'description':" WORDS
                 ",'inputs':{'type':'array','items':" OBJ "},'graph':" REF("Graph") "}}"},
    {"File", "{'type':'object','required':['id','name','content_type','bytes','sha256','created_at'],'additionalProperties':false,'properties':{'id':" ID
             ",'name':" STR ",'content_type':" STR ",'bytes':" INT ",'sha256':{'type':'string','pattern':'^[0-9a-f]{64}$'},'created_at':" TIME "}}"},
    {"FileList", LIST("File")},
    {NULL, NULL},
};

const struct tl_query_doc tl_query_docs[] = {
    {"limit", "{'type':'integer','minimum':1,'maximum':200,'default':50}", "How many items at most"},
    {"cursor", STR, "next_cursor of the page before"},
    {"status", STATUS, "Only runs in this state"},
    {"after_seq", INT, "seq of the last event seen; without it the stream begins at run.queued"},
    {"code", STR, "The code that the server printed at its start"},
    {NULL, NULL, NULL},
};
