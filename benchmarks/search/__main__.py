"""python -m benchmarks.search"""

from benchmarks.search.main import main

if __name__ == "__main__":
    main()
