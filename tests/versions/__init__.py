"""The whole suite with the oldest and with the newest versions of what the library is built on."""
