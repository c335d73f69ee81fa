"""Recording: the trie, the open trace, storages and views, flush."""
