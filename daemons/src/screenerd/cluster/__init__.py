"""One role a process, over a bus and a database that outlive them."""
