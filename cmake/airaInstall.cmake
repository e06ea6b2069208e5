# What `cmake --install` puts where. The tree may be moved afterwards: the program finds its parts from its own place, the
# CMake package and the pkg-config file from theirs.
#
#   bin/aira                         the program
#   libexec/aira/                    aira-probe, aira-supervise and aira-box, which the program starts
#   lib/aira/plugins/*.so            the plugins of this build
#   share/aira/                      tasks, studies and prompts
#   include/aira, lib/cmake/aira, lib/pkgconfig/aira-sdk.pc      the SDK: headers, find_package(aira), pkg-config
include(CMakePackageConfigHelpers)

if(TARGET aira)
  install(TARGETS aira RUNTIME DESTINATION bin)
endif()
install(TARGETS aira-probe aira-supervise aira-box RUNTIME DESTINATION libexec/aira)
install(DIRECTORY ${AIRA_PLUGIN_OUTPUT}/ DESTINATION lib/aira/plugins FILES_MATCHING PATTERN "*.so")
install(DIRECTORY ${CMAKE_SOURCE_DIR}/include/aira DESTINATION include FILES_MATCHING PATTERN "*.h")
if(EXISTS ${CMAKE_SOURCE_DIR}/configs)
  install(DIRECTORY ${CMAKE_SOURCE_DIR}/configs DESTINATION share/aira)
endif()

configure_package_config_file(${CMAKE_SOURCE_DIR}/cmake/aira-config.cmake.in ${CMAKE_BINARY_DIR}/aira-config.cmake
  INSTALL_DESTINATION lib/cmake/aira NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/aira-config-version.cmake COMPATIBILITY SameMajorVersion)
install(FILES ${CMAKE_BINARY_DIR}/aira-config.cmake ${CMAKE_BINARY_DIR}/aira-config-version.cmake
  ${CMAKE_SOURCE_DIR}/cmake/airaPlugin.cmake DESTINATION lib/cmake/aira)
configure_file(${CMAKE_SOURCE_DIR}/cmake/aira-sdk.pc.in ${CMAKE_BINARY_DIR}/aira-sdk.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/aira-sdk.pc DESTINATION lib/pkgconfig)
