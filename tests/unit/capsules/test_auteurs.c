/* probe */
#include "tests/unit/capsules/craft.h"
#include <stdio.h>
static void show(void **s){ (void)s;
 for(int i=0;craft_auteurs[i];i++){ json_t*o=craft_auteur(craft_auteurs[i],json_object(),json_object()); char*c=json_dumps(o,JSON_INDENT(1)|JSON_REAL_PRECISION(6)); printf("%s %s\n",craft_auteurs[i],c); free(c); json_decref(o);} }
int main(void){ const struct CMUnitTest tests[]={cmocka_unit_test(show)}; return cmocka_run_group_tests(tests,craft_setup,craft_teardown);}
