# aira_add_plugin(name source...): a plugin shared object named name.so with exactly one export and no undefined symbol.
# Used by the tree itself and, through find_package(aira), by plugin packs.
function(aira_add_plugin name)
  add_library(${name} MODULE ${ARGN})
  set_target_properties(${name} PROPERTIES
    PREFIX "" SUFFIX ".so" C_VISIBILITY_PRESET hidden C_STANDARD 17 C_EXTENSIONS OFF POSITION_INDEPENDENT_CODE ON)
  if(AIRA_PLUGIN_OUTPUT)
    set_target_properties(${name} PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${AIRA_PLUGIN_OUTPUT})
  endif()
  if(TARGET aira::sdk)
    target_link_libraries(${name} PRIVATE aira::sdk)
  else()
    target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/include)
  endif()
  target_link_options(${name} PRIVATE -Wl,-z,defs -Wl,-z,now)
  target_link_libraries(${name} PRIVATE m)
endfunction()
