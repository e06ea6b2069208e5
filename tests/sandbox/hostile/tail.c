
/* --- the end of every source
 * ------------------------------------------------------------------------------------------ */
static const aira_primitive table = {.size = sizeof table, .token = "X", .build = build};
static const aira_plugin plugin = {
    AIRA_PLUGIN_DESCRIPTOR("primitive", aira_primitive, &table, "hostile", "1.0.0", "hostile", 0)};
AIRA_MANIFEST("primitive", "hostile", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
