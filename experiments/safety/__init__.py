"""What keeps a command from doing harm: files of others, too little memory, Ctrl-C, programs of others."""
