"""python -m benchmarks.profiling"""

from benchmarks.profiling.main import main

if __name__ == "__main__":
    main()
