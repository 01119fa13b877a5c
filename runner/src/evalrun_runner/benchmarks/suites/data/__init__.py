"""Data files of a suite, read as they stand.

``datasets`` gives values types by what they look like: a CSV's ``007`` becomes 7, ``NA`` becomes null, one empty cell
makes whole numbers decimal, and a JSON text that looks like a date becomes a time. The answers that a model is scored
against must be those in the file, so a suite's files are read here. Data of lm-eval's own tasks stay as ``datasets``
reads them.

Read in this order: ``files`` (which files make which split), ``opening`` (compression and encodings), one reader a
format (``csv_rows``, ``json_rows``, ``text_rows``, ``arrow_rows``), ``columns`` and ``tables`` (rows to Arrow),
``features`` (types that the task asks for), ``meaning`` (what templates make of the cells), ``splits`` (all of it).
"""
