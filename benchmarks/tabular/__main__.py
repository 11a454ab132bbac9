"""python -m benchmarks.tabular"""

from benchmarks.tabular.main import main

if __name__ == "__main__":
    main()
